"""The packed engine, and the one-trial loop that it must equal."""
