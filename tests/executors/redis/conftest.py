"""Servers for the tests of this folder, started when the first test asks."""

import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from executors.redis._channel import Channel
from tests.executors.redis.leaks import leaked
from tests.executors.redis.servers import Server, shared


@pytest.fixture(autouse=True)
def _connections_end_with_their_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Or they would be found open when garbage is collected, in the middle of another test that is blamed for them."""
    made: weakref.WeakSet[Channel] = weakref.WeakSet()
    begin = Channel.__init__

    def noted(channel: Channel, *args: Any, **options: Any) -> None:
        begin(channel, *args, **options)
        made.add(channel)

    monkeypatch.setattr(Channel, "__init__", noted)
    yield
    for channel in list(made):
        channel.close()


@pytest.fixture
def valkey() -> Iterator[Server]:
    """The Valkey server of this process, empty. A test leaves nothing on it that would stay for ever."""
    server = shared()
    server.ask("FLUSHALL")
    yield server
    left = leaked(server)
    server.ask("FLUSHALL")
    assert not left, f"stays for ever: {left}"
