"""Errors that the core raises."""

from __future__ import annotations


class ModelError(RuntimeError):
    """A model file is missing, corrupt or of the wrong kind; the message names its path."""
