"""Definitions of corpora and suites, as TOML."""
