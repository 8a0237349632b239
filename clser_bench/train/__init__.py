"""The packed engine, and the one-trial loop that it must equal."""

ENGINE_VERSION = 3  # raised when a change of the engine moves the numbers of trained methods
