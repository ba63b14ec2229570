"""What a process and a child that it started for handlers say to each other: a tag of one byte, then a pickle.

Pickles go only over the private socket between the two; none ever comes from a store.
"""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from flows._opts import Settings
from flows.errors import Failed

JOB: Final = b"J"
"""To the child: the number of a call, as `numbered` writes it, and the `Call`."""
STOP: Final = b"S"
"""To the child: (number of the call, why its handler should stop)."""
CHILDREN: Final = b"C"
"""To the child: what `WANTED` asked for, or the text of the reason why it cannot be had."""

BEGUN: Final = b"B"
"""From the child: the handler is about to be called."""
PROGRESS: Final = b"P"
LOG: Final = b"L"
WANTED: Final = b"W"
"""From the child: the results of the job's dependencies, please."""
DONE: Final = b"D"
"""From the child: the handler's result."""
RAISED: Final = b"R"
"""From the child: a `Raised`."""


NUMBER_BYTES: Final = 8


class Place(NamedTuple):
    """Where a child finds a handler: an attribute of a module, which is the function or the task made of it."""

    module: str
    path: str


class Brief(NamedTuple):
    """What a handler can ask of its job and run."""

    run_id: str
    key: str | None
    flow: str
    job_id: str
    task: str
    queue: str
    attempt: int
    settings: Settings
    carrier: dict[str, str]
    """The trace context of the attempt; empty where nobody traces."""


class Call(NamedTuple):
    """One attempt, to be made in a child.

    Attributes:
        contexts: The parameters that take the context of the job.
    """

    place: Place
    is_async: bool
    brief: Brief
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    contexts: tuple[str, ...]


class Raised(NamedTuple):
    """An exception of an attempt, so that the parent can have it back whatever it is.

    Attributes:
        error: It, pickled; None where it would not come back the same.
        kind: Its class, or the nearest one above that can be imported, pickled.
        failed: What is kept of it, traceback included.
        final: Whether another attempt is of no use, whatever the retry rules say.
    """

    error: bytes | None
    kind: bytes
    failed: Failed
    final: bool


class ChildTraceback(Exception):
    """The cause given to exceptions that came from a child: shows where in the child they were raised."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def dumps(value: object) -> bytes:
    """A pickle of *value*.

    Raises:
        Exception: It has none; whatever its own code raises.
    """
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


loads = pickle.loads


def numbered(number: int) -> bytes:
    """The number of a call as it stands before the pickle of the call, in `NUMBER_BYTES`."""
    return number.to_bytes(NUMBER_BYTES)


def packed(error: Exception, job: str, *, final: bool, dumps: Callable[[object], bytes] = dumps) -> Raised:
    """*error* as it travels, pickled by *dumps*."""
    data = None
    with contextlib.suppress(Exception):  # its own code runs
        data = dumps(error)
        if type(loads(data)) is not type(error):
            data = None
    for kind in type(error).__mro__:
        with contextlib.suppress(Exception):
            return Raised(data, dumps(kind), Failed.of(error, job), final)
    raise AssertionError("object itself can be pickled")


def unpacked(raised: Raised) -> Exception:
    """The exception again, or one of its kind with its name and text; its cause shows the traceback in the child."""
    error: object = None
    if raised.error is not None:
        with contextlib.suppress(Exception):
            error = loads(raised.error)
    if not isinstance(error, Exception):
        error = _stand_in(raised)
    error.__cause__ = ChildTraceback(raised.failed.traceback)
    return error


def _stand_in(raised: Raised) -> Exception:
    """An exception that `isinstance`, `str` and the class name do not tell from the one that could not come."""
    message = raised.failed.message
    kind: Any = Exception
    with contextlib.suppress(Exception):
        kind = loads(raised.kind)
    for base in (kind, Exception):
        with contextlib.suppress(Exception):
            like = type(raised.failed.type, (base,), {"__module__": base.__module__, "__str__": lambda self: message})
            made = base.__new__(like)
            made.args = (message,)
            if isinstance(made, Exception):
                return made
    return RuntimeError(message)
