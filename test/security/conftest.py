"""Attacks on loopback, bounded in number and time."""

from __future__ import annotations

from page_fixtures import clock, serve  # noqa: F401  (fixtures)
