"""Servers for the tests of this folder, started when the first test asks."""

from collections.abc import Iterator

import pytest

from tests.executors.redis.servers import Server, shared


@pytest.fixture
def valkey() -> Iterator[Server]:
    """The Valkey server of this process, empty."""
    server = shared()
    server.ask("FLUSHALL")
    yield server
    server.ask("FLUSHALL")
