"""Corpora on disk to utterance tables, draws, and the boundary between problems and answers."""
