"""The guard against the real world: what a simulated handler must not use is noticed at the call, and named.

A profile function of this thread sees each call while a handler runs, however the name was imported, and no other
thread notices anything. Calls that other C code makes are not seen.
"""

from __future__ import annotations

import _socket
import _thread
import datetime
import os
import random
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Mapping
from types import CodeType, FrameType, MappingProxyType
from typing import Any, Final, NoReturn

from flows._names import nearest, shown
from flows.errors import DefinitionError, FlowsError, UnsupportedError

_REMEDIES: Final = {
    "time": "take the instant as data, or ask for it in a task of its own that the simulation replaces (handlers=)",
    "sleep": "await asyncio.sleep(...) in an async handler, which takes no real time here, or raise flows.RetryAfter",
    "random": "derive it from flows.current().idempotency_key, which is the same in each attempt, or take it as data",
    "sockets": "replace the call by an EffectLedger, or the handler by handlers={...}",
    "threads": "call it directly, or await asyncio.to_thread(...), which runs in this thread here: there is no other",
    "processes": "replace the handler by handlers={...}",
}

KINDS: Final = tuple(_REMEDIES)

_CLOCKS = ("time", "monotonic", "perf_counter", "process_time", "thread_time", "clock_gettime")
_TIMES = (*_CLOCKS, *(f"{name}_ns" for name in _CLOCKS))
_TIMES_OF_NOW = ("gmtime", "localtime", "ctime")
"""They tell the time where they are given none."""

_DIALS = ("connect", "connect_ex", "bind", "accept", "getaddrinfo", "gethostbyname")
_TALKS = ("send", "sendall", "sendto", "sendmsg", "recv", "recv_into", "recvfrom", "recvmsg")
_WAITS = ("acquire", "__enter__")
_NAMES: Final = (
    dict.fromkeys((*_TIMES, *_TIMES_OF_NOW, "now", "utcnow", "today"), "time")
    | {"sleep": "sleep"}
    | dict.fromkeys(("random", "getrandbits", "urandom", "getrandom", "seed", "generate_time_safe"), "random")
    | dict.fromkeys((*_DIALS, *_TALKS, "read", "write", "select", "poll"), "sockets")
    | dict.fromkeys(("start_new_thread", "start_joinable_thread", *_WAITS), "threads")
    | dict.fromkeys(("fork", "fork_exec", "posix_spawn", "system"), "processes")
)
"""Names of C functions that may be what handlers must not call."""

_MODULES: Final = frozenset(("time", "posix", "nt", "_socket", "_thread", "_posixsubprocess", "_uuid", "select"))
_MODULES_OF_TYPES: Final = frozenset(("_ssl", "select"))
_LOCK: Final = type(_thread.allocate_lock())
_SHARED_RANDOM: Final = random.random.__self__  # type: ignore[attr-defined]
_EXEMPT: Final = frozenset(("logging", "importlib", "warnings", "opentelemetry", "hypothesis", "_pytest", "linecache"))
"""Packages that may look at the clock on a handler's behalf: what they do with it does not come back to it."""

_AS_A_WHOLE: Final = (
    dict.fromkeys(("asyncio", "concurrent", "executors", "flows", "queue", "threading"), "threads")
    | dict.fromkeys(("multiprocessing", "subprocess"), "processes")
    | dict.fromkeys(("http", "smtplib", "socket", "ssl", "urllib"), "sockets")
    | dict.fromkeys(("random", "secrets", "tempfile", "uuid"), "random")
)
"""Packages -> what a call of them amounts to, whatever they use to do it."""

_OURS: Final = ("executors", "flows")
_ADVICE: Final = {
    "asyncio": "make the handler async and await that",
    "executors": "make that a part of this flow, or replace the handler by handlers={...}",
    "flows": "make that a part of this flow, or replace the handler by handlers={...}",
}
"""The same -> what to do about it, where that is not what its kind says."""

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

    def __init__(self, call: str, kind: str, place: str, advice: str) -> None:
        super().__init__(f"{call} at {place}")
        self.call, self.kind, self.place, self.advice = call, kind, place, advice


def violation_error(violation: Violation, job: str, attempt: int) -> RealTimeUsedError:
    """The error that a simulation raises for what its guard has noticed."""
    text = (
        f"job {job!r} (attempt {attempt}) called {violation.call}() at {violation.place}: a simulation has a clock of "
        f"its own and must come out the same each time. Instead, {violation.advice}. "
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

    __slots__ = ("_allowed", "_depth", "_noticed", "_on", "_refused", "_seeding")

    def __init__(self, allow: frozenset[str], noticed: Callable[[Violation], None]) -> None:
        self._allowed = allow
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
        name: str = called.__name__
        kind, owner = _NAMES[name], getattr(called, "__self__", None)
        if name in _WAITS:
            if type(owner) is _LOCK and owner.locked() and _given(frame) != 1:  # one: most often, not to wait
                self._refuse(frame, "Lock.acquire", kind)
        elif name in _TIMES_OF_NOW and _given(frame):
            return
        elif kind == "random" and owner is _SHARED_RANDOM:
            self._refuse(frame, f"random.{name}", kind)
        elif isinstance(owner, type) and issubclass(owner, datetime.date):
            self._refuse(frame, f"{owner.__name__}.{name}", kind)
        elif type(owner) is type(time) and owner.__name__ in _MODULES:
            self._refuse(frame, f"{owner.__name__}.{name}".replace("posix.", "os."), kind)
        elif kind == "sockets" and (isinstance(owner, _socket.socket) or type(owner).__module__ in _MODULES_OF_TYPES):
            self._refuse(frame, f"socket.{name}", kind)

    def refuse(self, call: str, kind: str) -> NoReturn:
        """Whoever calls this has been asked for *call*, which is not to be had here.

        Raises:
            UnsupportedError: It would be allowed.
        """
        self._refuse(sys._getframe(2), call, kind, as_a_whole={})
        raise UnsupportedError(f"a simulated event loop has no {call}; replace the handler by handlers={{...}}")

    def _refuse(
        self, frame: FrameType, call: str, kind: str, as_a_whole: Mapping[str, str] = MappingProxyType(_AS_A_WHOLE)
    ) -> None:
        user: FrameType | None = frame
        package = ""
        while user is not None and user.f_globals.get("__name__") != __name__:
            module = str(user.f_globals.get("__name__", ""))
            top = module.partition(".")[0]
            if top in _EXEMPT:
                return
            file = user.f_code.co_filename
            if top not in _OURS and (not file.startswith(_LIBRARY) or "site-packages" in file):
                break
            package, call = top, f"{top if top in _OURS else module}.{_name(user.f_code)}"
            user = user.f_back
        advice = _ADVICE.get(package) if package in as_a_whole else None
        kind = as_a_whole.get(package, kind)
        if kind in self._allowed:
            return
        place = "?" if user is None else f"{os.path.basename(user.f_code.co_filename)}:{user.f_lineno}"
        self._raise(Violation(call, kind, place, advice or _REMEDIES[kind]))

    def _raise(self, violation: Violation) -> NoReturn:
        self._noticed(violation)
        raise violation


def _given(frame: FrameType) -> int:
    """How many arguments the call has that *frame* is at."""
    return frame.f_code.co_code[frame.f_lasti + 1]


def _name(code: CodeType) -> str:
    return code.co_qualname.removesuffix(".__init__").removeprefix("Random.")
