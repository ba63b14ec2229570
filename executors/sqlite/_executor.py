"""SqliteExecutor: runs kept in a file, worked off by whoever asks for them, or by workers beside.

A `Home` is the file, opened, with the runs that are worked off here. `submit` packs a flow and stores it. `work` and
`join` have a crew of this process claim the run's jobs; `serve` makes a worker of any run. Whatever is asked of a run
is read from the file.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from executors._leasing import Crew, _main_import
from executors._leasing._audience import listeners
from executors._leasing._callers import blocking, loop_line, loop_runs_here, next_name
from executors._leasing._process_checks import check_places
from executors._leasing._seats import Seats
from executors._stored import Limits, StoredRecord, check_handlers, pack
from executors.sqlite._database import MICROS
from executors.sqlite._home import Home
from executors.sqlite._operating import Operating
from executors.sqlite._retention import Holder
from executors.sqlite._telling import Telling
from executors.sqlite._url import place_of
from executors.sqlite._worked import WorkedRun
from flows._idempotency import conflict, expired
from flows._plan import Plan
from flows._shared_results import check_shared
from flows._telemetry import trace_run
from flows._views import end_state
from flows._waits import reached
from flows.errors import FlowsError, RunError, UnavailableError
from flows.executor import RunOptions, WorkerOptions

if TYPE_CHECKING:
    from executors._leasing._workshop import Workshop


class SqliteRecord(StoredRecord):
    """A run in a file, as users read it.

    Attributes:
        number: The run's, in the file.
        worked: The same as its crew sees it.
        new: Whether it was submitted here, and nobody has worked on it yet.
    """

    number: int
    worked: WorkedRun
    new = False


class SqliteExecutor(Operating):
    """Runs in a SQLite file: they outlive the process, and need no server.

    ``sqlite:///shop.db`` is a file in the current directory, ``sqlite:////var/shop.db`` one by its whole path. What was
    committed survives the loss of power; with ``?synchronous=normal`` it survives a crash of the process, and commits
    are cheaper. ``concurrency=N`` and ``processes=N`` as for ``memory://``; ``max_jobs=N`` is how many jobs a flow may
    have.

    `execute` works its own run off in the calling process. Other processes may join in as workers. What a process held
    that was killed is free at once, as its lock on a byte of ``shop.db-workers`` is.
    """

    embedded = True
    crew_type: Callable[..., Crew] = Crew
    """Who works a run off."""
    resumes = True
    """A run whose caller was interrupted stays open, to be resumed."""

    def __init__(self, url: str) -> None:
        self._place = place_of(url)
        self.slots = self._place.concurrency
        self._processes = self._place.processes or os.cpu_count() or 1
        self._seats = Seats(min(self.slots, self._processes))
        self._opening = threading.Lock()
        self._opened: Home | None = None
        self._home()

    @staticmethod
    def check_there(url: str) -> None:
        """Refuse a URL of a file that is not there yet.

        Raises:
            UnavailableError: There is no such file; none was made.
        """
        path = place_of(url).path
        if not path.exists():
            raise UnavailableError(f"there is no file {path.absolute()}; it is made when a flow is first run there")

    def _home(self) -> Home:
        home = self._opened
        if home is None or home.pid != os.getpid():  # after a fork: connections and locks are the parent's
            with self._opening:
                home = self._opened
                if home is None or home.pid != os.getpid():
                    home = self._opened = Home(self._place)
        return home

    @property
    def store(self) -> Any:
        """The store that the runs live in."""
        return self._home().store

    def submit(self, plan: Plan[Any], options: RunOptions, *, background: bool) -> SqliteRecord:
        """Store a run: all of it or, if this raises, nothing. Nobody works on it before `work`, `join` or a worker."""
        if _main_import.under_way:
            _main_import.refuse()
        if not background:
            check_handlers(plan)
            check_places(plan)
        if any(one.idempotency_key is not None for one in plan.distinct):
            check_shared(plan)
        home = self._home()
        tracing = trace_run(plan.name, len(plan), options)
        if tracing is not None:
            options = dataclasses.replace(options, trace_id=tracing.trace_id, carrier=tracing.carrier)
        packed = pack(plan, options, Limits(jobs=self._place.max_jobs))
        put = home.store.put_run(packed)
        if put.holder is not None:
            return self._joined(options.key or "", put.holder, put.number, plan, put.now)
        assert put.number is not None
        record = self._record(put.number, plan)
        record.worked.tracing, record.new = tracing, True
        return record

    def find(self, *, run_id: str | None = None, key: str | None = None) -> SqliteRecord | None:
        """The run of that id or key, if it is there and within its retention."""
        home = self._home()
        number, holder, now = home.store.find(run_id, key)
        if number is None:
            if holder is not None and key is not None:
                raise _expired(key, holder, now)
            return None
        return self._record(number)

    def work(self, record: SqliteRecord, timeout: float | None) -> bool:
        """Work the run off, lending it the calling thread where that is safe, and return when it has ended."""
        home, run = self._home(), record.worked
        home.refresh(run)
        deadline = None if timeout is None else home.store.clock() + timeout
        if not run.ended and not self._worked_off(home, record, deadline):
            return False
        self._conclude(record)
        if run.telling is not None:
            run.telling.catch_up()
        return True

    def _worked_off(self, home: Home, record: SqliteRecord, deadline: float | None) -> bool:
        run, waiters = record.worked, home.waiters()
        if not waiters or deadline is not None:
            return self._work(home, record, deadline)
        home.store.check_waiting(run.number, waiters)
        former, run.awaited_by = run.awaited_by, waiters[0]
        try:
            return self._work(home, record, deadline)
        finally:
            run.awaited_by = former

    def _work(self, home: Home, record: SqliteRecord, deadline: float | None) -> bool:
        run = record.worked
        self._check_loop(run)
        try:
            crew, mine = self._crew(home, record)
            if loop_runs_here():
                with blocking(run.id):
                    return crew.await_end(deadline)
            if mine and deadline is None and not run.has_timeout:
                crew.lend()
                return True
            return crew.await_end(deadline)
        except UnavailableError as error:
            error.add_note(f"run {run.id} stays open in the file; flows.resume({run.id!r}) goes on with it")
            raise

    def join(self, record: SqliteRecord, *, blocks: bool = False) -> None:
        """Work the run off in background threads, if nobody here does yet."""
        home, run = self._home(), record.worked
        home.refresh(run)
        if run.ended:
            self._conclude(record)
            return
        if blocks:
            self._check_loop(run)
        waiters = home.waiters()
        if waiters:
            home.store.check_waiting(run.number, waiters)
        crew, mine = self._crew(home, record)
        if mine:
            crew.start()

    def cancel(self, record: SqliteRecord, reason: str) -> None:
        """Cancel a run: what has not started is cancelled, running handlers are told to stop."""
        self._home().store.cancel(record, reason)
        self._home().refresh(record.worked)
        if record.worked.ended and record.worked.crew is None:
            self._conclude(record)

    def reopen(self, record: SqliteRecord, job: int | None, *, anew: bool) -> None:
        """Have jobs of an ended run done again, once somebody works on it."""
        home = self._home()
        if home.store.reopen(record, job, anew=anew):
            record.refresh()
            home.refresh(record.worked)
            if record.worked.tracing is not None:
                record.worked.tracing.reopen(len(record.plan))
            if record.worked.ended:
                self._conclude(record)

    def serve(self, options: WorkerOptions) -> Workshop:
        """A worker for all runs in the file."""
        from executors._leasing._serving import workshop  # most programs have no worker

        home = self._home()
        home.store.publish(options.limits)
        return workshop(home.store, options, min(options.concurrency, self._processes), logs_jobs=True)

    def close(self) -> None:
        """Let go of the file. Runs that are worked off here must have ended; handles on runs can be read no more."""
        with self._opening:
            home, self._opened = self._opened, None
        if home is not None and home.pid == os.getpid():
            home.close()

    def _record(self, number: int, plan: Plan[Any] | None = None) -> SqliteRecord:
        home = self._home()
        header = home.header(number)
        record = SqliteRecord(home.reader, header.id, header, plan)
        record.number = number
        record.worked = home.worked(number, header)
        record.exceptions = record.worked.exceptions
        return record

    def _joined(self, key: str, holder: Holder, number: int | None, plan: Plan[Any], now: int) -> SqliteRecord:
        """The run that has the key already.

        Raises:
            IdempotencyConflictError: It is of another flow.
            ResultExpiredError: It is past its retention.
        """
        record = None if number is None else self._record(number)
        if holder.fingerprint != plan.fingerprint:
            theirs = None if record is None else record.origin
            raise conflict(key, holder.run_id, holder.fingerprint, theirs, plan)
        if record is None:
            raise _expired(key, holder, now)
        return self._record(record.number, None if record.origin.lists else plan)

    def _crew(self, home: Home, record: SqliteRecord) -> tuple[Crew, bool]:
        """The crew that works on the run here, and whether it was made just now."""
        run = record.worked
        if run.held:
            home.store.abandon(run, "its crew has fallen")
        with home.lock:
            if run.crew is not None and not run.crew.over and run.crew.fallen is None:
                return run.crew, False
            run.prepare()
            run.seats = self._seats if run.has_process else None
            worked: Any = run  # of what a brief says it is asked for handlers only
            options: Any = {"slots": self.slots, "name": next_name(), "on_end": lambda: self._over(record, crew)}
            crew: Crew = self.crew_type(home.store, worked, **options)
            run.crew = crew
        self._begin_telling(home, record)
        return crew, True

    @staticmethod
    def _begin_telling(home: Home, record: SqliteRecord) -> None:
        """Have loggers and meters hear of the run, if any want to."""
        those = listeners(home.depths, record.header.size)
        if those:
            position = 0 if record.new else home.reader.events(record.id, 0)[1]
            record.new = False
            record.worked.telling = Telling(record, home.reader, those, position)

    def _over(self, record: SqliteRecord, crew: Crew) -> None:
        if record.worked.crew is crew:  # else another has taken the place of one that has fallen
            record.worked.crew = None
            if record.worked.telling is not None:
                record.worked.telling.end()
        if record.worked.ended:  # else this process was interrupted and lets go of it
            self._conclude(record)

    @staticmethod
    def _conclude(record: SqliteRecord) -> None:
        """The run has ended: its trace does, too."""
        tracing = record.worked.tracing
        record.refresh()
        if tracing is not None:
            state = end_state(record)
            wrong = next((root for root in record.origin.roots if record.state_of(root) == state), None)
            tracing.finish(state, None if state == "completed" or wrong is None else record.failed(wrong))

    def _check_loop(self, run: WorkedRun) -> None:
        """Refuse to wait for async handlers where they cannot go on meanwhile.

        Raises:
            RunError: The caller is itself an async handler, or one waits for it, so that it would wait for ever.
        """
        run.prepare()
        line = loop_line()
        if line is None and run.has_async:
            from executors._leasing import _loop as line
        if line is None:
            return
        if line.loop_thread.runs_here():
            stuck = run.has_async
        else:
            blocked_on = line.loop_thread.blocked_on
            stuck = run.has_async and blocked_on is not None and run.id in reached(blocked_on)
        if stuck:
            raise RunError(
                f"run {run.id} has async handlers; to wait for it inside an async handler would block the event loop "
                "that they run on, for ever: use await flows.aexecute(...), or await run"
            )


def _expired(key: str, holder: Holder, now: int) -> FlowsError:
    left = 0.0 if holder.free_at is None else (holder.free_at - now) / MICROS
    return expired(key, holder.run_id, left)
