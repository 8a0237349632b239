"""Sweeps: which points of a method's hyper-parameters there are, and which is best."""
