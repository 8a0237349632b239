"""Scores of predictions, made where the answers are."""
