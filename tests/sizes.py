"""How large the examples of a test are: after every change (`make test-fast`) smaller than in `make test`."""

from typing import Final

from hypothesis import settings

AFTER_EVERY_CHANGE: Final = settings().max_examples < 50


def size(whole: int, after_every_change: int) -> int:
    """How many to take of what the test is about."""
    return after_every_change if AFTER_EVERY_CHANGE else whole
