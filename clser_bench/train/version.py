"""The version of the training engine."""

from __future__ import annotations

ENGINE_VERSION = 2
"""Raised when a change of the engine moves the numbers of trained methods."""
