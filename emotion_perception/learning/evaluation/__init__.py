"""Scores of the models and of their fusion on people who are not in the training data."""
