"""Where the server is now: at a fixed address, where sentinels say, or the node that holds a slot of a cluster."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from executors.redis._url import Address, Host
from flows.errors import UnavailableError

KNOWN_NODES: Final = 64
Ask = Callable[[Host, float, Sequence[str]], Any]
"""Put one command to the node at an address, until an instant: its reply, or an exception."""


class Place(Protocol):
    """Finds the server that takes our commands."""

    def find(self, deadline: float) -> Host:
        """Its host and port.

        Raises:
            UnavailableError: Nobody says where it is, until the instant *deadline* of `time.monotonic`.
        """
        ...

    def forget(self) -> None:
        """What was found last was not it, or is it no longer."""
        ...

    def moved(self, host: Host) -> None:
        """The server itself says that it is there."""
        ...


class Fixed:
    """One host."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def find(self, deadline: float) -> Host:
        return self._host

    def forget(self) -> None:
        pass

    def moved(self, host: Host) -> None:
        pass  # the start-up check says what is wrong with a cluster behind such an address


class BySentinels:
    """The host that sentinels name as master. They are asked for every connection: a failover is found by the next."""

    def __init__(self, address: Address, ask: Ask) -> None:
        self._sentinels = list(address.hosts)
        self._address = address
        self._ask = ask

    def find(self, deadline: float) -> Host:
        failures = []
        for count, sentinel in enumerate(sentinels := list(self._sentinels)):
            now = time.monotonic()
            until = now + max(0.05, (deadline - now) / (len(sentinels) - count))
            try:
                found = self._ask(sentinel, until, ("SENTINEL", "get-master-addr-by-name", self._address.master))
            except UnavailableError as error:
                failures.append(str(error))
                continue
            if found:
                if count:
                    self._sentinels = [sentinel, *(one for one in sentinels if one != sentinel)]
                return found[0].decode(), int(found[1])
            failures.append(f"the sentinel {sentinel[0]}:{sentinel[1]} knows no master {self._address.master!r}")
        raise UnavailableError(f"{self._address}: no sentinel says where the master is: {'; '.join(failures)}")

    def forget(self) -> None:
        pass

    def moved(self, host: Host) -> None:
        pass


class BySlot:
    """The node that holds a slot, as the nodes of the cluster tell it; looked up anew when it turns out to be wrong."""

    def __init__(self, address: Address, slot: int, ask: Ask) -> None:
        self._address = address
        self._slot = slot
        self._ask = ask
        self._nodes = list(address.hosts)
        self._found: Host | None = None

    def find(self, deadline: float) -> Host:
        found = self._found
        if found is None:
            found = self._found = self._looked_up(deadline)
        return found

    def forget(self) -> None:
        self._found = None

    def moved(self, host: Host) -> None:
        self._found = host
        self._learn([host])

    def _looked_up(self, deadline: float) -> Host:
        failures = []
        for count, node in enumerate(nodes := list(self._nodes)):
            now = time.monotonic()
            until = now + max(0.05, (deadline - now) / (len(nodes) - count))
            try:
                ranges = self._ask(node, until, ("CLUSTER", "SLOTS"))
            except UnavailableError as error:
                failures.append(str(error))
                continue
            hosts = [self._host(entry[2], node) for entry in ranges]
            self._learn(hosts)
            for entry, host in zip(ranges, hosts, strict=True):
                if entry[0] <= self._slot <= entry[1]:
                    return host
            failures.append(f"{node[0]}:{node[1]} says that nobody serves slot {self._slot}")
        raise UnavailableError(f"{self._address}: no node of the cluster can be used: {'; '.join(failures[:3])}")

    def _host(self, entry: Sequence[Any], asked: Host) -> Host:
        # A node that does not know its own name gives none: then it is the one that was asked.
        name = entry[0].decode() if entry[0] else ""
        return (name if name not in ("", "?") else asked[0]), int(entry[1])

    def _learn(self, hosts: Sequence[Host]) -> None:
        """Nodes come and go; those of the URL stay, for the day on which none of the others does."""
        known = dict.fromkeys([*hosts, *self._nodes])
        self._nodes = list(known)[: KNOWN_NODES - len(self._address.hosts)]
        self._nodes += [host for host in self._address.hosts if host not in self._nodes]


def resolved(host: str, port: int, deadline: float) -> list[tuple[Any, ...]]:
    """What `socket.getaddrinfo` says of a host, within a time: the resolver of the system knows no limit of ours.

    Raises:
        OSError: The name is not known, or not in time.
    """
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return [(family, socket.SOCK_STREAM, 0, "", (host, port))]
    answer: list[Any] = []

    def ask() -> None:
        try:
            answer.append(socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answer.append(error)

    thread = threading.Thread(target=ask, name="flows-resolve", daemon=True)
    thread.start()
    thread.join(max(0.0, deadline - time.monotonic()))
    if not answer:
        raise socket.gaierror(socket.EAI_AGAIN, "no answer in time")
    if isinstance(answer[0], UnicodeError):
        raise socket.gaierror(socket.EAI_NONAME, "it is no name of a host")
    if isinstance(answer[0], OSError):
        raise answer[0]
    found: list[tuple[Any, ...]] = answer[0]
    return found
