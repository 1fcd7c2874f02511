"""Scores of the models and of their fusion on people who do not occur in the training data."""
