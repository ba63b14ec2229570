"""The guard against the real world: what a simulated handler must not use is noticed at the call, and named.

A profile function of this thread sees each call while a handler runs, however the name was imported, and no other
thread notices anything. Calls that other C code makes are not seen.
"""

from __future__ import annotations

import datetime
import os
import random
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable
from types import CodeType, FrameType
from typing import Any, Final, NoReturn

from flows._names import nearest, shown
from flows.errors import DefinitionError, FlowsError

_REMEDIES: Final = {
    "time": "take the instant as data, or ask for it in a task of its own that the simulation replaces (handlers=)",
    "sleep": "await asyncio.sleep(...) in an async handler, which takes no real time here, or raise flows.RetryAfter",
    "random": "derive it from flows.current().idempotency_key, which is the same in each attempt, or take it as data",
    "sockets": "replace the call by an EffectLedger, or the handler by handlers={...}",
    "threads": "call it directly, or await asyncio.to_thread(...), which runs in this thread here",
    "processes": "replace the handler by handlers={...}",
}

KINDS: Final = tuple(_REMEDIES)

_TIMES = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")
_NAMES: Final = (
    dict.fromkeys((*_TIMES, "now", "utcnow", "today"), "time")
    | {"sleep": "sleep"}
    | dict.fromkeys(("random", "getrandbits", "urandom", "getrandom", "seed", "generate_time_safe"), "random")
    | dict.fromkeys(("connect", "connect_ex", "bind", "accept", "getaddrinfo", "gethostbyname", "sendto"), "sockets")
    | dict.fromkeys(("start_new_thread", "start_joinable_thread"), "threads")
    | dict.fromkeys(("fork", "fork_exec", "posix_spawn", "system"), "processes")
)
"""Names of C functions that may be what handlers must not call."""

_MODULES: Final = frozenset(("time", "posix", "nt", "_socket", "_thread", "_posixsubprocess", "_uuid"))
_SHARED_RANDOM: Final = random.random.__self__  # type: ignore[attr-defined]
_EXEMPT: Final = frozenset(("logging", "importlib", "warnings", "opentelemetry", "hypothesis", "_pytest", "linecache"))
"""Packages that may look at the clock on a handler's behalf: what they do with it does not come back to it."""

_LIBRARY: Final = tuple(
    os.path.join(path, "") for path in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")} if path
)


class RealTimeUsedError(FlowsError):
    """A simulated handler used the real clock, chance, a socket, a thread or a process.

    Attributes:
        call: What it called, as ``"time.time"``.
        job: The id of its job.
        kind: What to put into ``simulate(allow=...)`` to let it pass.
    """

    call: str = ""
    job: str = ""
    kind: str = ""


class Violation(BaseException):
    """Goes through a handler, and past what catches exceptions there."""

    def __init__(self, call: str, kind: str, place: str) -> None:
        super().__init__(f"{call} at {place}")
        self.call, self.kind, self.place = call, kind, place


def violation_error(violation: Violation, job: str, attempt: int) -> RealTimeUsedError:
    """The error that a simulation raises for what its guard has noticed."""
    text = (
        f"job {job!r} (attempt {attempt}) called {violation.call}() at {violation.place}: a simulation has a clock of "
        f"its own and must come out the same each time. Instead, {_REMEDIES[violation.kind]}. "
        f"Where it does no harm, simulate(..., allow=({violation.kind!r},)) lets it pass"
    )
    return RealTimeUsedError(text, call=violation.call, job=job, kind=violation.kind)


def checked_kinds(allow: object) -> frozenset[str]:
    """What was given as ``allow=``."""
    if isinstance(allow, str) or not isinstance(allow, Iterable):
        raise DefinitionError(f"allow= takes a tuple of {', '.join(KINDS)}, not {shown(allow)}")
    allowed = frozenset(allow)
    for one in allowed:
        if one not in KINDS:
            near = nearest(str(one), KINDS)
            remedy = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(KINDS)}"
            raise DefinitionError(f"allow= knows no {shown(one)}; {remedy}")
    return allowed


class RealTimeGuard:
    """Watches the calls of this thread between `begin` and `end`, unless a profiler does.

    Args:
        allow: Kinds of calls that pass.
        noticed: Called with each violation, right before it is raised in the handler.
    """

    __slots__ = ("_depth", "_noticed", "_on", "_refused", "_seeding")

    def __init__(self, allow: frozenset[str], noticed: Callable[[Violation], None]) -> None:
        self._refused = frozenset(name for name, kind in _NAMES.items() if kind not in allow)
        self._seeding = None if "random" in allow else random.Random.seed.__code__
        self._noticed = noticed
        self._depth = 0
        self._on = False

    def begin(self) -> None:
        """A handler's code runs from now on."""
        self._depth += 1
        if self._depth == 1 and self._refused and sys.getprofile() is None:  # a profiler goes first
            self._on = True
            sys.setprofile(self._look)

    def end(self) -> None:
        """It does not, any more."""
        self._depth -= 1
        if self._depth == 0 and self._on:
            self._on = False
            sys.setprofile(None)

    def _look(self, frame: FrameType, event: str, arg: Any) -> None:
        if event == "c_call":
            if arg.__name__ in self._refused:
                self._judge(frame, arg)
        elif event == "call" and frame.f_code is self._seeding and frame.f_locals.get("a") is None:
            self._refuse(frame, "random.Random", "random")

    def _judge(self, frame: FrameType, called: Any) -> None:
        kind, owner = _NAMES[called.__name__], getattr(called, "__self__", None)
        name = called.__name__
        if kind == "random" and owner is _SHARED_RANDOM:
            self._refuse(frame, f"random.{name}", kind)
        elif isinstance(owner, type) and issubclass(owner, datetime.date):
            self._refuse(frame, f"{owner.__name__}.{name}", kind)
        elif type(owner) is type(time) and owner.__name__ in _MODULES:
            self._refuse(frame, f"{owner.__name__}.{name}".replace("posix.", "os."), kind)
        elif kind == "sockets" and hasattr(owner, "fileno"):
            self._refuse(frame, f"socket.{name}", kind)

    def _refuse(self, frame: FrameType, call: str, kind: str) -> None:
        user: FrameType | None = frame
        while user is not None and user.f_globals.get("__name__") != __name__:
            module = str(user.f_globals.get("__name__", ""))
            if module.partition(".")[0] in _EXEMPT:
                return
            if not user.f_code.co_filename.startswith(_LIBRARY) or "site-packages" in user.f_code.co_filename:
                break
            call = f"{module}.{_name(user.f_code)}"
            user = user.f_back
        place = "?" if user is None else f"{os.path.basename(user.f_code.co_filename)}:{user.f_lineno}"
        self._raise(Violation(call, kind, place))

    def _raise(self, violation: Violation) -> NoReturn:
        self._noticed(violation)
        raise violation


def _name(code: CodeType) -> str:
    return code.co_qualname.removesuffix(".__init__").removeprefix("Random.")
