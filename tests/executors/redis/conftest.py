"""Servers for the tests of this folder, started when the first test asks."""

from collections.abc import Iterator

import pytest

from tests.executors.redis.leaks import leaked
from tests.executors.redis.servers import Server, shared


@pytest.fixture
def valkey() -> Iterator[Server]:
    """The Valkey server of this process, empty. A test leaves nothing on it that would stay for ever."""
    server = shared()
    server.ask("FLUSHALL")
    yield server
    left = leaked(server)
    server.ask("FLUSHALL")
    assert not left, f"stays for ever: {left}"
