"""Fixtures of the tests of stored conversations."""

from stored_conversations import shop, template  # noqa: F401
from time_zones import berlin  # noqa: F401
