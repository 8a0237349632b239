"""Aggregation, statistics and tables, from stored records alone."""
