"""Records and predictions in SQLite."""
