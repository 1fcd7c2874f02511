"""Fixtures of the tests of stored conversations."""

from stored_conversations import shop, template  # noqa: F401
