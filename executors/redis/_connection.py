"""The way to a server, for all threads of a process: connections that are free, and patience with a short absence."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

from redis.crc import key_slot

from executors.redis._channel import Channel, Command, ask
from executors.redis._functions import Functions
from executors.redis._places import BySentinels, BySlot, Fixed, Place
from executors.redis._server import Checks
from executors.redis._url import Address, Host
from flows.errors import UnavailableError

PATIENCE: Final = 1.8
"""Seconds in which a client's call is answered or fails: a producer's request must not hang on an absent server."""

CONNECT_SECONDS: Final = 2.0
REPLY_SECONDS: Final = 4.0
"""How long a worker's channel waits: a renewal of leases that hangs for longer would come too late."""

IDLE_CHANNELS: Final = 16
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.4

_chance: Final = random.SystemRandom()
"""Not the shared one: what somebody has seeded, for a test or a model, goes on as if we were not there."""


class Link:
    """The way to the server that holds one shard of a namespace. For all threads, and usable after a fork.

    Args:
        shard: Which shard of a namespace that is spread over a cluster.
    """

    def __init__(self, address: Address, shard: int = 0) -> None:
        self.address = address
        self.shard = shard
        self.place = _place(address, shard)
        self.checks = Checks(address)
        self.functions = Functions()
        self._idle: list[Channel] = []
        self._pid = os.getpid()
        self._closed = threading.Event()
        self._closings = 0

    def at(self, host: Host) -> Link:
        """The same, but of another node."""
        other = Link(self.address, self.shard)
        other.place = Fixed(host)
        other.checks = self.checks
        other.functions = self.functions
        return other

    def call(self, *command: Any, patience: float = PATIENCE) -> Any:
        """One command, on a connection that is free. It must be safe to send twice.

        What may pass is tried again for *patience* seconds: a connection that died unseen, a server that restarts.

        Raises:
            UnavailableError: The server was away, or could not serve us, for that long; whether the command was done is
                not known.
            ExecutorError: It will not serve us.
            redis.exceptions.ResponseError: Its complaint about the command itself.
        """
        reply = self.calls((command,), patience=patience)[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    def calls(self, commands: Sequence[Command], *, patience: float = PATIENCE) -> list[Any]:
        """Several commands in one round trip; complaints about a command stand where its reply would. See `call`.

        Raises:
            UnavailableError, ExecutorError: As `call`.
        """
        if not commands:
            return []
        deadline = time.monotonic() + patience
        pause, attempts = FIRST_PAUSE, 0
        failure: UnavailableError | None = None
        closings = self._closings
        while True:
            channel = self._free_channel(deadline)
            known = channel.connected
            try:
                replies = channel.calls(commands)
            except UnavailableError as error:
                channel.close()
                if failure is None or time.monotonic() < deadline:  # else it was our time that was over
                    failure = error
            except BaseException:
                channel.close()
                raise
            else:
                if len(self._idle) < IDLE_CHANNELS:
                    self._idle.append(channel)
                else:
                    channel.close()
                if closings != self._closings:  # closed while this call was under way
                    self._drop_idle()
                return replies
            attempts += 1
            if known:  # it may have died long ago, and with it the others
                self._drop_idle()
                pause_now = 0.0
            else:
                pause_now = pause * _chance.uniform(0.7, 1.0)
                pause = min(2 * pause, LONGEST_PAUSE)
            left = deadline - time.monotonic()
            if left <= pause_now + FIRST_PAUSE:
                tried = f" (tried {attempts} times in {patience - max(left, 0.0):.1f} s)" if attempts > 1 else ""
                raise UnavailableError(f"{failure}{tried}")
            self._closed.wait(pause_now)

    def channel(
        self, purpose: str, *, connect_seconds: float = CONNECT_SECONDS, reply_seconds: float = REPLY_SECONDS
    ) -> Channel:
        """A connection for one thread; see `Channel`."""
        return Channel(self, purpose, connect_seconds, reply_seconds)

    def close(self) -> None:
        """End the connections that are free now, and the others when they become free. It can still be used."""
        self._closings += 1
        self._closed.set()
        self._drop_idle()
        self._closed.clear()

    def place_forget(self) -> None:
        """The server that was found last does not serve us."""
        if self.place is not None:
            self.place.forget()

    def place_moved(self, node: Host) -> None:
        """A node of the cluster says that another holds the slot."""
        if self.place is not None:
            self.place.moved(node)

    def _free_channel(self, deadline: float) -> Channel:
        if self._pid != os.getpid():
            # The connections are the parent's; closing our end of them does not end them.
            self._idle, self._pid, self._closed = [], os.getpid(), threading.Event()
        try:
            return self._idle.pop()
        except IndexError:
            left = max(0.05, deadline - time.monotonic())
            return Channel(self, "client", left, PATIENCE)

    def _drop_idle(self) -> None:
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:
                return


def _place(address: Address, shard: int) -> Place | None:
    if address.kind == "unix":
        return None
    if address.kind == "sentinel":
        return BySentinels(address, lambda host, until, command: ask(address, host, until, command, sentinel=True))
    if address.kind == "cluster":
        slot = key_slot(f"{{{address.namespace}:{shard}}}".encode())
        return BySlot(address, slot, lambda host, until, command: ask(address, host, until, command))
    return Fixed(address.hosts[0])
