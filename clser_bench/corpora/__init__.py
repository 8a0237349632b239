"""Recordings on disk to corpora: where they lie, what they are, and what is odd about them."""
