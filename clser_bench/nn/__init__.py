"""Losses, layers and the shared backbone: pure functions and small modules."""
