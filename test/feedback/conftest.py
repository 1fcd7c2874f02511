"""Servers to ask."""

from page_fixtures import clock, serve  # noqa: F401
