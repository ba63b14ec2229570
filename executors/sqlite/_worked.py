"""WorkedRun: a run that this process works off, as its crew sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from executors._leasing._process_checks import process_handler
from executors._stored import Brief, Everybody, Found, Header, Kind, look_up, read, writing_async, writing_quickly
from executors.sqlite._claims import Drawn, Held
from executors.sqlite._notes import DistantSink, Sink
from executors.sqlite._store import SqliteStore
from flows import _registry
from flows._handlers import Handler
from flows.errors import DefinitionError

if TYPE_CHECKING:
    from executors._leasing import Crew
    from executors._leasing._seats import Seats
    from executors.sqlite._telling import Telling
    from flows._tracing import RunTrace
    from flows._verbs import Settle


class Bytes:
    """What makes bytes of results, in the hand that ran the handler."""

    around = staticmethod(writing_quickly)
    around_async = staticmethod(writing_async)


class WorkedRun:
    """One run, as long as somebody in this process holds it.

    Attributes:
        number: The run's, in the file.
        handlers: Of the jobs that were granted here.
        exceptions: What handlers raised here, by job.
        ended: Whether every job is terminal, as far as is known here.
        openings: How often the run was begun.
        awaited_by: The attempt whose handler waits for the run, if one does.
        held: Whether the file says that this process holds jobs of the run which nobody here knows of any more.
    """

    writing = Bytes
    costly = True
    rated = False
    tracing: RunTrace | None = None
    seats: Seats | None = None
    crew: Crew | None = None
    telling: Telling | None = None
    awaited_by: Held | None = None
    held = False

    def __init__(self, number: int, header: Header, notify: Callable[[int], None]) -> None:
        self.number = number
        self.header = header
        self.id, self.key = header.id, header.key
        self.handlers: dict[int, Handler] = {}
        self.exceptions: dict[int, BaseException] = {}
        self.state: Any = SimpleNamespace(cancelling=False)
        self.interrupters: list[Callable[[], None]] = []
        self.wakers: list[Callable[[], None]] = []
        self.ended = False
        self.openings = 1
        self.deadline_at: float | None = None
        self.has_async = self.has_sync = self.has_timeout = self.has_process = self.shares = False
        self._live: dict[int, Brief] = {}
        self._notify = notify

    def prepare(self) -> None:
        """Look at the tasks of its jobs.

        Raises:
            UnknownTaskError: Some are not registered here; nothing was run.
        """
        problems: list[DefinitionError] = []
        timed = self.header.options.timeout is not None
        for kind in self.header.kinds:
            if kind.is_control:
                continue
            handler = kind.handler()
            if handler is None:
                problems.append(_registry.unknown(kind.name, kind.queue, kind.name))
                continue
            task = handler.task
            settings = kind.settings_for(task)
            distant = settings.run_in == "process"
            self.has_process = self.has_process or distant
            self.has_async = self.has_async or (task.is_async and not distant)
            self.has_sync = self.has_sync or not task.is_async or distant
            timed = timed or settings.timeout is not None
            self.shares = self.shares or settings.idempotency_key is not None
        if problems:
            raise DefinitionError.of(problems)
        self.has_timeout = self.has_sync and timed

    def briefs(self, store: SqliteStore, drawn: Iterable[Drawn]) -> None:
        """Give each grant what a hand must know of it."""
        live, handlers, tracing = self._live, self.handlers, self.tracing
        rated = self.rated = store.rated
        header, cancelling = self.header, self.state.cancelling
        found: dict[int, Found] = {}
        for one in drawn:
            grant = one.grant
            made = live[grant.job] = grant.run = brief_of(store, header, one, found)
            if made.handler is not None:
                handlers[grant.job] = made.handler
            if tracing is not None:
                made.tracing = tracing
            if rated:
                made.rated = True
            if cancelling:
                made.cancelling = True

    def handed(self, store: SqliteStore, job: int, drawn: Drawn) -> None:
        """An attempt made here has completed, and its follower was granted with that."""
        live, grant = self._live, drawn.grant
        live.pop(job, None)
        if self.exceptions:
            self.exceptions.pop(job, None)
        if self.tracing is not None or self.state.cancelling or self.rated:
            self.briefs(store, (drawn,))
            return
        made = live[grant.job] = grant.run = brief_of(store, self.header, drawn, {})
        if made.handler is not None:
            self.handlers[grant.job] = made.handler

    def all_settled(self, settles: Sequence[Settle]) -> None:
        """Attempts made here are over."""
        live, exceptions = self._live, self.exceptions
        for settle in settles:
            job = settle.grant.job
            live.pop(job, None)
            if settle.error is not None:
                exceptions[job] = settle.error
            elif exceptions:
                exceptions.pop(job, None)

    def interrupt(self) -> None:
        """The run is being cancelled: handlers are told to stop."""
        self.state.cancelling = True
        for one in tuple(self._live.values()):
            one.state.cancelling = True
        for interrupter in tuple(self.interrupters):
            interrupter()

    def let_go(self) -> None:
        """What runs here does not count any more: handlers are told to stop. The run itself goes on."""
        live, self._live = self._live, {}
        for one in tuple(live.values()):
            one.state.cancelling = True

    def wake(self) -> None:
        """Somebody else has changed the run: whoever works on it should look. Not waited for."""
        for waker in tuple(self.wakers):
            waker()

    def notify(self) -> None:
        """Tell those who watch the run that something has changed."""
        self._notify(self.number)

    def reopened(self, openings: int) -> None:
        """The run goes on."""
        self.openings = openings
        self.ended = False
        self.state = SimpleNamespace(cancelling=False)


def brief_of(store: SqliteStore, header: Header, drawn: Drawn, found: dict[int, Found]) -> Brief:
    """What a worker must know of a grant, of what was read with it.

    Args:
        found: What was found here for jobs of this run's kinds just now.
    """
    grant = drawn.grant
    job, row = grant.job, drawn.row
    if row is None:
        row = header.bodies[drawn.places[-1].body].rows[job - drawn.places[-1].base]
    elif type(row) is bytes:
        row = read(row)
    there = found.get(row[1])
    if there is None:
        there = found[row[1]] = _look_up(header.kinds[row[1]])
    since = None if drawn.since is None else store.seconds(drawn.since)
    sink = DistantSink(store, grant) if there.settings.run_in == "process" else Sink(store, grant)
    return Brief(header, job, row, drawn.inputs, drawn.places, since, grant.control and drawn.gated, sink, there)


def _look_up(kind: Kind) -> Found:
    there = look_up(kind)
    if there.handler is None or there.settings.run_in != "process":
        return there
    handler = process_handler(there.handler.task)
    return there._replace(handler=handler, handlers=Everybody(handler))
