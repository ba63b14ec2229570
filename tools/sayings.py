"""What a test says to a server, and what it is answered: taken down, and said again."""

from __future__ import annotations

import importlib
import os
import pickle
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import hiredis
from redis.connection import AbstractConnection
from redis.exceptions import ResponseError

TOLD_APART: Final = re.compile(rb"EVALSHA\r\n\$40\r\n([0-9a-f]{40})")
UNSTEADY: Final = re.compile(
    rb"\*\d+\r\n\$\d+\r\n(?:INFO|P?TTL|P?EXPIRETIME|XINFO|TIME|MEMORY|CLIENT)\r\n", re.IGNORECASE
)
"""Commands whose answers are others each time."""
KEYS: Final = re.compile(rb"\*\d+\r\n\$\d+\r\n(?:KEYS|SMEMBERS)\r\n", re.IGNORECASE)
"""Commands whose answers have no order."""
STREAM_ID: Final = re.compile(rb"\b\d{13}-\d+\b")
FORGETS: Final = re.compile(rb"\*\d+\r\n\$\d\r\n(?:SCRIPT|FUNCTION|FCALL)\r\n")

HANGS_SECONDS: Final = 1.5
"""So long the server may be at work on what is sent at one go, by its own processor time."""
GIVE_UP_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Recording:
    """What a test says to the server, and what it is answered.

    Attributes:
        sent: What is sent at one go.
        answers: To each of these the answers, as `steady` shows them.
        counts: How many answers there are to each.
        took: Seconds of processor time.
    """

    sent: tuple[bytes, ...]
    answers: tuple[bytes, ...]
    counts: tuple[int, ...]
    took: float = 0.0

    @cached_property
    def size(self) -> int:
        """Bytes sent and answered."""
        return sum(map(len, self.sent)) + sum(map(len, self.answers))

    @cached_property
    def runs(self) -> frozenset[bytes]:
        """The scripts that it runs, by name."""
        return frozenset(name for one in self.sent for name in TOLD_APART.findall(one))


NOTHING: Final = Recording((), (), ())


class HangingError(Exception):
    """The server does not come to an end with a script."""


class NotTakenError(Exception):
    """The server does not take a mutant for a script."""


class Names(dict[bytes, bytes]):
    """By the name that a script has in recordings, the name of the mutant that is loaded in its place."""

    def __init__(self, server: Any, shas: Mapping[str, bytes], text: Callable[[str], bytes | None]) -> None:
        self._server, self._text = server, text
        self._scripts = {sha: name for name, sha in shas.items()}

    def __missing__(self, sha: bytes) -> bytes:
        text = self._text(self._scripts[sha]) if sha in self._scripts else None
        self[sha] = made = sha if text is None else load(self._server, text)
        return made


def load(server: Any, text: bytes) -> bytes:
    """Have the server know a script; its name."""
    try:
        name: bytes = server.ask("SCRIPT", "LOAD", text)
    except ResponseError as error:
        raise NotTakenError from error
    return name


class Line:
    """A connection on which recorded bytes are said again."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._reader = hiredis.Reader(notEnoughData=Ellipsis)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(server.path)
        self._socket.settimeout(0.2)

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *failure: object) -> None:
        self._socket.close()

    def say(self, sent: bytes, count: int) -> list[Any]:
        """Send, and read as many answers.

        Raises:
            HangingError: The server is at work and does not answer.
        """
        begun: float | None = None
        self._socket.settimeout(GIVE_UP_SECONDS)
        self._socket.sendall(sent)
        self._socket.settimeout(0.2)
        answers: list[Any] = []
        while len(answers) < count:
            answer = self._reader.gets()
            if answer is not Ellipsis:
                answers.append(answer)
                continue
            try:
                self._reader.feed(self._socket.recv(1 << 16))
            except TimeoutError:
                begun = worked(self._server) if begun is None else begun
                if worked(self._server) - begun > HANGS_SECONDS:
                    raise HangingError from None
        return answers


def worked(server: Any) -> float:
    """Seconds of processor time that a server's process has taken."""
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Log:
    """What connections to one server say and hear, from the moment on that this is made."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._rows: list[tuple[bytes | None, Any]] = []
        self._elsewhere = False
        self._listen()

    def begin(self) -> None:
        """Forget what there is."""
        self._rows, self._elsewhere = [], False

    def recording(self) -> Recording:
        """What was said; nothing, where not all of it was to this server, or something cannot be said again."""
        sent: list[bytes] = []
        answers: list[list[Any]] = []
        for said, heard in self._rows:
            if said is not None:
                sent.append(said)
                answers.append([])
            else:
                answers[-1].append(heard)
        if self._elsewhere or any(FORGETS.search(one) for one in sent):
            return NOTHING
        shown = [steady(said, heard) for said, heard in zip(sent, answers, strict=True)]
        return Recording(tuple(sent), tuple(shown), tuple(map(len, answers)))

    def _listen(self) -> None:
        sockets: Any = importlib.import_module("executors.redis._sockets")
        sockets._pack = sockets._Reader = None  # without its own ways it takes redis-py's, which can be listened to
        connections: Any = AbstractConnection
        send, read = connections.send_packed_command, connections.read_response

        def sends(connection: Any, command: Any, check_health: bool = True) -> None:
            parts = [command] if isinstance(command, bytes) else list(command)
            self._elsewhere = self._elsewhere or getattr(connection, "path", "") != self._path
            self._rows.append((b"".join(parts), None))
            send(connection, command, check_health)

        def reads(connection: Any, *given: Any, **options: Any) -> Any:
            try:
                answer = read(connection, *given, **options)
            except ResponseError as error:
                self._rows.append((None, error))
                raise
            self._rows.append((None, answer))
            return answer

        connections.send_packed_command, connections.read_response = sends, reads


def steady(sent: bytes, answers: list[Any]) -> bytes:
    """Answers as bytes, without what is another one each time."""
    if UNSTEADY.search(sent):
        return b""
    made = pickle.dumps(_plain(answers, sorts=KEYS.search(sent) is not None))
    return STREAM_ID.sub(b"", made)


def _plain(answer: Any, *, sorts: bool = False) -> Any:
    if isinstance(answer, list):
        made = [_plain(one, sorts=sorts) for one in answer]
        return sorted(made, key=repr) if sorts else made
    return "error" if isinstance(answer, Exception) else answer


def difference(server: Any, said: Recording, names: Names) -> tuple[bytes, object, object] | None:
    """What is answered otherwise than it was: what is sent, the answers then and now.

    Raises:
        NotTakenError, HangingError: See there.
    """
    server.ask("FLUSHALL")
    with Line(server) as line:
        for sent, answers, count in zip(said.sent, said.answers, said.counts, strict=True):
            got = line.say(TOLD_APART.sub(lambda found: found[0][:-40] + names[found[1]], sent), count)
            if steady(sent, got) != answers:
                return sent, answers, got
    return None
