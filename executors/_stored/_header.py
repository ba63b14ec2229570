"""The header of a stored run: what its jobs have in common, read once by each process that works on it.

Kinds of jobs, bodies of lists and options are made of it when they are first asked for; handlers are looked up by name
at each claim. `Headers` keeps the latest few hundred.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from json.encoder import encode_basestring as quote
from typing import TYPE_CHECKING, Any, Final

from executors._stored._json import decode, encode
from executors._stored._options import settings_from
from executors._stored._shape import FORM
from executors._stored._values import read
from flows._bodies import Body
from flows._handlers import Handler, handler_of
from flows._registry import find
from flows._state import CONTROL_QUEUE
from flows.errors import UnsupportedError
from flows.executor import RunOptions

if TYPE_CHECKING:
    from executors._stored._brief import Found
    from flows._opts import Settings
    from flows._plan import Plan
    from flows._task import Task

_OPTIONS: Final = ("timeout", "fail_fast", "keep", "keep_failed", "keep_count", "key_ttl")

HEADERS_KEPT: Final = 4096

COMMONS_KEPT: Final = 128
COMMON_BYTES: Final = 16_384
"""What headers have in common is kept for the next one, of so many flows, where it is not longer than this."""

_ID_AT: Final = len(b'{"id":"')
_COMMON: Final = b',"v":%d,' % FORM
"""Begins what is in common; it is nowhere else, as what stands before has no numbers and quotes are escaped in text."""


class Kind:
    """What jobs have in common that differ in their arguments only: where their handler is found, and their options.

    The handler is looked up anew for each claim, by name in this process's table of tasks: never imported.

    Attributes:
        name: The task's.
        home: The task's own queue.
        queue: The jobs'.
        typed: Whether they were made by calling the task; else they are literals.
        is_control: Whether they are lists, which have no handler.
        found: What was found for them the last time, in this process.
    """

    __slots__ = ("_data", "_found", "_settings", "_task", "found", "home", "is_control", "name", "queue", "typed")

    def __init__(self, name: str, home: str, queue: str, data: dict[str, Any], typed: bool) -> None:
        self.name = name
        self.home = home
        self.queue = queue
        self.typed = typed
        self.is_control = home == CONTROL_QUEUE
        self._data = data
        self._task: Task[..., Any] | None = None
        self._settings: Settings | None = None
        self._found: Handler | None = None
        self.found: Found | None = None

    @property
    def task(self) -> Task[..., Any] | None:
        """The task of that name on that queue, else the only one of that name; None where there is none here."""
        return None if self.is_control else find(self.name, self.home)

    def handler(self) -> Handler | None:
        """The handler at this moment; None where the task is not known here."""
        task = None if self.is_control else find(self.name, self.home)
        if task is None:
            return None
        found = self._found
        if found is None or found.task is not task or found.fn is not task.fn or not found.parameters.evaluated:
            found = self._found = handler_of(task)
        return found

    def settings_for(self, task: Task[..., Any] | None) -> Settings:
        """The options that count: what was stored, and what is code of *task*."""
        if self._settings is None or task is not self._task:
            self._settings, self._task = settings_from(self._data, task, self.queue), task
        return self._settings


class StoredBody:
    """What a list stamps out, as it stands in the header.

    Attributes:
        rows: Of its own jobs.
        names: Ids over the whole index space.
        links: For each link its place in the index space around.
        limit: How many items are open at once; None for all.
        root: The job whose result is the item's.
    """

    __slots__ = ("limit", "links", "names", "root", "rows")

    def __init__(self, data: dict[str, Any]) -> None:
        self.rows: list[list[Any]] = data["rows"]
        self.names: list[str] = data["names"]
        self.links: list[int] = data["links"]
        self.limit: int | None = data["limit"]
        self.root: int = data["root"]


class Header:
    """The header of one run.

    Attributes:
        options: As submitted; with the run's id, key and trace.
        id, key: Of these.
        name: The flow's name.
        size: Jobs that were submitted; those that lists stamp out come on top.
        roots, several: As of the plan.
        limits: As of the plan.
        fingerprint: Of a run with a key; else empty.
        kinds: By number.
        bodies: By number.

    Raises:
        UnsupportedError: It was written in a form that this version cannot read.
    """

    __slots__ = (
        *("_own", "_shared", "bodies", "kinds", "limits", "name", "roots", "several", "size", "__weakref__"),
        *("fingerprint", "id", "key", "options"),  # when one of them is first asked for: most jobs do not
    )  # fmt: skip
    fingerprint: str
    id: str
    key: str | None
    options: RunOptions

    def __init__(self, payload: bytes) -> None:
        at = payload.find(_COMMON)
        if at < 0:
            own = read(payload)
            shared = _Common(own)
            self._take(own, shared)
        else:
            self._own = payload[:at] + b"}"
            end = payload.find(b'"', _ID_AT)
            run_id = payload[_ID_AT:end]
            if b"\\" not in run_id:
                self.id = run_id.decode()  # each job asks for it
            self._shared = shared = _common_of(payload[at:])
        self.name, self.size, self.roots, self.several = shared.name, shared.size, shared.roots, shared.several
        self.limits, self.kinds, self.bodies = shared.limits, shared.kinds, shared.bodies

    def __getattr__(self, name: str) -> Any:
        if name not in Header.__annotations__:
            raise AttributeError(name)
        self._take(read(self._own), self._shared)
        return getattr(self, name)

    def _take(self, own: dict[str, Any], shared: _Common) -> None:
        self.id, self.key, self.fingerprint = own["id"], own["key"], own["fingerprint"]
        self.options = RunOptions(self.id, self.key, own["trace"], **shared.options, carrier=own["carrier"])


class _Common:
    """What headers of many runs have in common, read once for all of them."""

    __slots__ = ("bodies", "kinds", "limits", "name", "options", "roots", "several", "size")

    def __init__(self, data: dict[str, Any]) -> None:
        form = data.get("v")
        if form != FORM:
            raise UnsupportedError(
                f"run {data.get('id')} is stored in form {form}, and this version of flows reads form {FORM}; "
                "run the same version here as where it was submitted"
            )
        self.options = {name: data["options"][name] for name in _OPTIONS}
        self.name: str = data["name"]
        self.size: int = data["size"]
        self.roots: tuple[int, ...] = tuple(data["roots"])
        self.several: bool = data["several"]
        self.limits = {
            queue: (concurrency, None if rate is None else (rate[0], rate[1]))
            for queue, (concurrency, rate) in data["limits"].items()
        }
        settings = data["settings"]
        self.kinds = [
            Kind(name, home, queue, settings[number], bool(typed)) for name, home, queue, number, typed in data["kinds"]
        ]
        self.bodies = [StoredBody(body) for body in data["bodies"]]


_commons: dict[bytes, _Common] = {}


def _common_of(written: bytes) -> _Common:
    """What is written, as it was read before, where it was."""
    found = _commons.get(written)
    if found is None:
        found = _Common(read(b"{" + written[1:]))
        # Without a lock, as the steps are atomic, and what is lost or read twice does no harm.
        if len(_commons) >= COMMONS_KEPT:
            _commons.clear()
        if len(written) <= COMMON_BYTES:
            _commons[written] = found
    return found


def common_part(
    plan: Plan[Any],
    options: RunOptions,
    kinds: list[list[Any]],
    settings: list[dict[str, Any]],
    bodies: Sequence[tuple[list[bytes], Body]],
) -> str:
    """What the header of a run of *plan* has in common with those of other runs like it; see `write_header`."""
    written = encode(
        {
            "v": FORM,
            "name": plan.name,
            "size": len(plan),
            "roots": plan.roots,
            "several": plan.several,
            "options": {name: getattr(options, name) for name in _OPTIONS},
            "limits": plan.limits,
            "kinds": kinds,
            "settings": settings,
            "bodies": [
                {
                    "rows": [decode(row) for row in rows],
                    "names": body.names,
                    "links": body.links,
                    "limit": body.limit,
                    "root": body.root,
                }
                for rows, body in bodies
            ],
        }
    )
    return written[1:]


def write_header(options: RunOptions, fingerprint: str, common: str) -> bytes:
    """The header of a run; `Header` reads it.

    One JSON object, in which what is the run's own stands first, so that what it has in common with others is the same
    piece of text in all of them.
    """
    run_id, trace_id, key, carrier = options.run_id, options.trace_id, options.key, options.carrier
    return (
        f'{{"id":{quote(run_id)},"key":{"null" if key is None else quote(key)},"trace":{quote(trace_id)},'
        f'"carrier":{encode(dict(carrier)) if carrier else "{}"},"fingerprint":{quote(fingerprint)},{common}'
    ).encode()


class Headers:
    """The headers of the runs that a process works on, the last few hundred of them. Safe for threads.

    Args:
        load: Fetches the header that is stored under a storage id.
        kept: How many at most.
    """

    def __init__(self, load: Callable[[str], bytes], kept: int = HEADERS_KEPT) -> None:
        self._load = load
        self._kept = kept
        self._lock = threading.Lock()
        self._headers: OrderedDict[str, Header] = OrderedDict()

    def __getitem__(self, storage_id: str) -> Header:
        """The header of that run; fetched, outside any lock, where it is not here yet.

        Raises:
            UnsupportedError: It was written in a form that this version cannot read.
        """
        with self._lock:
            header = self._headers.get(storage_id)
            if header is not None:
                self._headers.move_to_end(storage_id)
                return header
        return self.put(storage_id, self._load(storage_id))

    def get(self, storage_id: str) -> Header | None:
        """The header of that run if it is here."""
        with self._lock:
            return self._headers.get(storage_id)

    def put(self, storage_id: str, payload: bytes) -> Header:
        """Take in a header that came along with something else."""
        header = Header(payload)
        with self._lock:
            self._headers[storage_id] = header
            self._headers.move_to_end(storage_id)
            while len(self._headers) > self._kept:
                self._headers.popitem(last=False)
        return header

    def drop(self, storage_id: str) -> None:
        """Forget a header: the run is gone."""
        with self._lock:
            self._headers.pop(storage_id, None)
