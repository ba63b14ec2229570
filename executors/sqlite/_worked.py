"""WorkedRun: a run that this process works off, as its crew sees it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from executors._stored import Brief, Header, brief, writing, writing_async
from executors.sqlite._checks import process_handler
from executors.sqlite._claims import Drawn
from executors.sqlite._notes import Sink
from executors.sqlite._store import SqliteStore
from flows import _registry
from flows._handlers import Handler
from flows.errors import DefinitionError

if TYPE_CHECKING:
    from executors._leasing import Crew
    from executors._leasing._seats import Seats
    from flows._tracing import RunTrace


class Bytes:
    """What makes bytes of results, in the hand that ran the handler."""

    around = staticmethod(writing)
    around_async = staticmethod(writing_async)


class WorkedRun:
    """One run, as long as somebody in this process holds it.

    Attributes:
        number: The run's, in the file.
        handlers: Of the jobs that were granted here.
        exceptions: What handlers raised here, by job.
        ended: Whether every job is terminal, as far as is known here.
        openings: How often the run was begun.
    """

    writing = Bytes
    costly = True
    rated = False
    tracing: RunTrace | None = None
    seats: Seats | None = None
    crew: Crew | None = None

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

    def brief(self, store: SqliteStore, drawn: Drawn) -> Brief:
        """What a hand must know of a grant."""
        made = brief_of(store, self.header, drawn)
        job = drawn.grant.job
        self._live[job] = made
        if made.handler is not None:
            self.handlers[job] = made.handler
        made.tracing, made.rated = self.tracing, store.rated
        if self.state.cancelling:
            made.state.cancelling = True
        return made

    def settled(self, job: int, error: BaseException | None) -> None:
        """An attempt made here is over."""
        self._live.pop(job, None)
        if error is None:
            if self.exceptions:
                self.exceptions.pop(job, None)
        else:
            self.exceptions[job] = error

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


def brief_of(store: SqliteStore, header: Header, drawn: Drawn) -> Brief:
    """What a worker must know of a grant, of what was read with it."""
    grant = drawn.grant
    made = brief(
        header,
        grant.job,
        drawn.row,
        drawn.inputs,
        place=drawn.places,
        since=None if drawn.since is None else store.seconds(drawn.since),
        gated=grant.control and drawn.gated,
        sink=Sink(store, grant),
    )
    if made.handler is not None and made.settings.run_in == "process":
        made.handler = process_handler(made.handler.task)
        made.handlers = {grant.job: made.handler}
    return made
