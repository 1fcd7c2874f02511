"""Scores of the models and of their fusion on people that training never saw."""
