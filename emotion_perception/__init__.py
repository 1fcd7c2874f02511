"""Emotional perception for service robots: faces and voices in, one honest emotion state out."""

__version__ = "0.1.0"
