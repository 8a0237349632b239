"""The plan of trials, and its execution here or by Ray."""
