"""MemoryExecutor: runs worked off in this process, with no server and no file.

A `Home` has a store, the runs by id (weakly: a run belongs to those who hold it), and those with keys. `submit` finds
handlers, checks data and puts the run into the store. `work` has it worked off, alone or by a crew that it lends its
thread; `join` has a crew do so in the background.
"""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from executors._leasing import Crew, _main_import
from executors._leasing._callers import blocking, loop_line, loop_runs_here, next_name
from executors._leasing._seats import Seats
from executors._leasing._solo import Solo
from executors.memory._growth import Mould
from executors.memory._operating import Operating
from executors.memory._retention import Retention
from executors.memory._run import MemoryRun
from executors.memory._store import MemoryStore
from flows import _registry
from flows._binding import Arguments, Binding
from flows._bodies import Body, bodies_of
from flows._context import current_grant
from flows._executors import masked
from flows._handlers import Handler, handler_of
from flows._names import shown
from flows._plan import Plan
from flows._shared_results import check_shared
from flows._state import ACTIVE, STATE_NAMES
from flows._verbs import Grant
from flows._waits import reached
from flows.errors import DefinitionError, RunError, UnknownExecutorError
from flows.executor import RunOptions, WorkerOptions

if TYPE_CHECKING:
    from executors._leasing._workshop import Workshop

SLOTS: Final = 32
"""Handlers at once, where the URL does not say: blocking ones overlap well, and computing ones do not fight for the
interpreter.
"""

MAX_SLOTS: Final = 10_000


class Home:
    """Where runs live: a store, and what finds them in it again."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.runs: dict[str, weakref.ref[MemoryRun]] = {}
        """By id, those that somebody holds; a WeakValueDictionary would take as long as a job of theirs."""
        self.retention = Retention(self.forget)
        self.lock = threading.Lock()

    def put(self, run: MemoryRun) -> None:
        """Accept a run and release its leaves."""
        self.runs[run.id] = weakref.ref(run, functools.partial(self.runs.pop, run.id))
        self.store.put_run(run)

    def forget(self, run: MemoryRun) -> None:
        """A run was retired: its id finds it no longer."""
        self.runs.pop(run.id, None)

    def find(self, run_id: str | None) -> MemoryRun | None:
        """The run of that id, if there is one."""
        reference = self.runs.get(run_id or "")
        return None if reference is None else reference()

    def dismiss(self, run: MemoryRun) -> None:
        """A run has ended."""
        run.dismiss()
        self.retention.look_after(self.store.clock())

    def depths(self) -> dict[tuple[str, str], int]:
        """How many jobs have not ended, by queue and state."""
        counts: Counter[tuple[str, int]] = Counter()
        for reference in list(self.runs.values()):
            run = reference()
            if run is not None and not run.ended:
                counts.update(zip(run.plan.queues_of, run.state.state, strict=False))
        return {(queue, STATE_NAMES[state]): n for (queue, state), n in counts.items() if state <= ACTIVE}


_process_home = Home()


def _after_fork() -> None:
    global _process_home
    _process_home = Home()  # its runs are the parent's, and its locks may have been held


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class MemoryExecutor(Operating):
    """Runs in the memory of this process; they die with it.

    ``memory://`` is one store per process, whatever its other options; ``memory://?private=1`` a store of its own.
    ``concurrency=N`` says how many handlers of a run may run at once, ``processes=N`` how many processes may at once
    run handlers that ask for one: where it is not given, as many as there are processors, and never more than the
    former. Runs without a key leave the store with their `Run` object.
    """

    embedded = True
    run_type: Any = MemoryRun
    crew_type: Callable[..., Crew] = Crew
    """Who works a run off."""

    def __init__(self, url: str = "memory://") -> None:
        options = _options(url)
        self.slots = options.get("concurrency", SLOTS)
        self._processes = options.get("processes", os.cpu_count() or 1)
        self._seats = Seats(min(self.slots, self._processes))
        self._own: Home | None = Home() if options.get("private") else None

    @property
    def store(self) -> MemoryStore:
        """The store that the runs live in."""
        return self._home.store

    @property
    def _home(self) -> Home:
        return self._own or _process_home

    def submit(self, plan: Plan[Any], options: RunOptions, *, background: bool) -> MemoryRun:
        """Accept a run: all of it or, if this raises, nothing."""
        if _main_import.under_way:
            _main_import.refuse()
        handlers = self.handlers(plan)
        bindings = _bindings(plan, handlers)
        home = self._home
        store = home.store
        moulds = _moulds(plan, self.handlers)
        run: MemoryRun = self.run_type(options, plan, handlers, bindings, store.clock, store.epoch, moulds)
        if run.shares:
            check_shared(plan)
        if options.key is None:
            home.retention.look_after(store.clock())
            run.observe(home)
            home.put(run)
        else:
            if home.retention.is_free(options.key, store.clock()):
                run.observe(home)  # what another submitter has made of it a moment before leaves no trace
            run = home.retention.enter(options.key, run, home.put, store.clock())
        if background:
            self._start(run)
        return run

    def handlers(self, plan: Plan[Any]) -> Sequence[Handler]:
        """The handler of each job."""
        return _handlers(plan)

    def find(self, *, run_id: str | None = None, key: str | None = None) -> MemoryRun | None:
        """The run of that id or key, if there is one."""
        home = self._home
        if key is not None:
            return home.retention.find(key, home.store.clock())
        home.retention.look_after(home.store.clock(), run_id)
        return home.find(run_id)

    def work(self, record: MemoryRun, timeout: float | None) -> bool:
        """Work the run off, lending it the calling thread where that is safe, and return when it has ended."""
        if not record.ended and not self._worked_off(record, timeout):
            return False
        record.conclude()
        return True

    def _worked_off(self, record: MemoryRun, timeout: float | None) -> bool:
        self._check_loop(record)
        waiter = _waiter()
        deadline = None if timeout is None else self.store.clock() + timeout
        if waiter is None or timeout is not None:
            return self._work(record, deadline)
        self.store.check_waiting(record, waiter)
        former, record.awaited_by = record.awaited_by, waiter
        try:
            return self._work(record, deadline)
        finally:
            record.awaited_by = former

    def _work(self, record: MemoryRun, deadline: float | None) -> bool:
        simple = deadline is None and record.is_simple and record.tracing is None and record.crew is None
        if simple and not loop_runs_here() and self._worked_alone(record):
            return True
        crew, mine = self._crew(record)
        if loop_runs_here():
            with blocking(record.id):
                return crew.await_end(deadline)
        if mine and deadline is None and not record.has_timeout:
            crew.lend()
            return True
        return crew.await_end(deadline)

    def _worked_alone(self, record: MemoryRun) -> bool:
        """Begin on a small run without a crew; says whether it has ended with that."""
        try:
            Solo(self.store, record, next_name(), lambda: self._crew(record)[0]).work()
        finally:
            crew = record.crew
            if crew is not None:  # which came to help, and may not know that all is done
                crew.turn()
            elif record.ended:
                self._home.dismiss(record)
                record.notify()
        return record.ended

    def join(self, record: MemoryRun, *, blocks: bool = False) -> None:
        """Work the run off in background threads, if nobody does yet."""
        if record.ended:
            record.conclude()
            return
        if blocks:
            self._check_loop(record)
        waiter = _waiter()
        if waiter is not None:
            self.store.check_waiting(record, waiter)
        self._start(record)

    def serve(self, options: WorkerOptions) -> Workshop:
        """A worker for all runs of this store, beside the crews that each work off one."""
        from executors._leasing._serving import workshop  # most programs have no worker

        self.store.publish(options.limits)
        return workshop(self.store, options, min(options.concurrency, self._processes), logs_jobs=False)

    def _start(self, record: MemoryRun) -> None:
        if not record.ended:
            crew, mine = self._crew(record)
            if mine:
                crew.start()

    def cancel(self, record: MemoryRun, reason: str) -> None:
        """Cancel a run: what has not started is cancelled, running handlers are told to stop."""
        self.store.cancel(record, reason)
        if record.ended and record.crew is None:  # nobody has begun to work on it, so nobody will end its trace
            record.dismiss()

    def reopen(self, record: MemoryRun, job: int | None, *, anew: bool) -> None:
        """Have jobs of an ended run done again, once somebody works on it: `work` and `join` do."""
        openings = record.openings
        self.store.reopen(record, job, anew=anew)
        if record.openings != openings:
            record.observe_again()
            if record.ended:  # at once, since nothing could run, or meanwhile, by another thread
                record.conclude()

    def _check_loop(self, run: MemoryRun) -> None:
        """Refuse to wait for async handlers where they cannot go on meanwhile.

        Raises:
            RunError: The caller is itself an async handler, or one waits for it, so that it would wait for ever.
        """
        line = loop_line()
        if line is None and run.has_async:
            from executors._leasing import _loop as line
        if line is None:
            return
        if line.loop_thread.runs_here():
            runs = [self._home.find(run_id) for run_id in reached(run.id)]
            stuck = run.has_async or any(one is not None and one.has_async and not one.ended for one in runs)
        else:
            blocked_on = line.loop_thread.blocked_on
            stuck = run.has_async and blocked_on is not None and run.id in reached(blocked_on)
        if stuck:
            raise RunError(
                f"run {run.id} has async handlers; to wait for it inside an async handler would block the event loop "
                "that they run on, for ever: use await flows.aexecute(...), or await run"
            )

    def _crew(self, run: MemoryRun) -> tuple[Crew, bool]:
        """The crew that works on *run*, and whether it was made just now."""
        with self._home.lock:
            if run.crew is not None and not run.crew.over:
                return run.crew, False
            on_end = run.dismiss if run.key is None else functools.partial(self._home.dismiss, run)
            run.seats = self._seats if run.has_process else None
            run.crew = crew = self.crew_type(self.store, run, slots=self.slots, name=next_name(), on_end=on_end)
            return crew, True


def tasks_of(plan: Plan[Any]) -> Sequence[Any]:
    """The task of each job.

    Raises:
        UnknownTaskError: A job's task is not registered here; all such jobs in one error.
    """
    tasks: Sequence[Any] = plan.tasks
    if not all(tasks):
        tasks = [task or _registry.find(*place) for task, *place in zip(tasks, plan.names, plan.queues_of, strict=True)]
        if None in tasks:
            places = zip(tasks, plan.names, plan.queues_of, plan.ids, strict=True)
            raise DefinitionError.of([_registry.unknown(*place) for task, *place in places if task is None])
    return tasks


def _handlers(plan: Plan[Any]) -> Sequence[Handler]:
    """The handler of each job.

    Raises:
        UnknownTaskError: A job's task is not registered here; all such jobs in one error.
        DefinitionError: A job is to run in a process that could not import its function.
    """
    tasks = tasks_of(plan)
    if plan.traits.in_process:
        from executors._leasing._process_handlers import mixed_handlers

        return mixed_handlers(plan, tasks)
    return list(map(handler_of, tasks))


def _moulds(plan: Plan[Any], of: Callable[[Plan[Any]], Sequence[Handler]] = _handlers) -> dict[Body, Mould]:
    """How the bodies of the plan's lists are stamped out; their handlers and data are checked as the plan's own."""
    if not plan.lists:
        return {}
    moulds: dict[Body, Mould] = {}
    for body in bodies_of(plan):
        handlers = of(body.plan)
        moulds[body] = Mould(body, handlers, _bindings(body.plan, handlers))
    return moulds


def _bindings(plan: Plan[Any], handlers: Sequence[Handler]) -> Sequence[Binding]:
    """The plan's bindings, with the data of literal jobs validated by the handlers' type hints.

    Raises:
        DataError: Data does not fit; all problems in one error.
    """
    if all(plan.tasks):
        return plan.bindings
    bindings = list(plan.bindings)
    problems: list[DefinitionError] = []
    for job, task in enumerate(plan.tasks):
        if task is None:
            binding = bindings[job]
            data = binding.kwargs if isinstance(binding, Arguments) else {}
            try:
                taken = handlers[job].parameters.validated(data, f"job {plan.ids[job]!r}")
            except DefinitionError as error:
                problems.append(error)
            else:
                bindings[job] = Arguments((), taken, by_name=True)
    if problems:
        raise DefinitionError.of(problems)
    return bindings


def _waiter() -> Grant | None:
    """The attempt whose handler calls, if it is one of a run in this process's memory."""
    grant = current_grant.get(None)
    return grant if grant is not None and isinstance(grant.run, MemoryRun) else None


def _options(url: str) -> dict[str, int]:
    if url.endswith("://"):
        return {}
    from urllib.parse import parse_qsl, urlsplit  # takes longer to load than most flows to run

    parts, spot = urlsplit(url), shown(masked(url))
    if parts.netloc or parts.path not in ("", "/") or parts.fragment:
        raise UnknownExecutorError(
            f"{spot}: memory:// takes no host or path, only ?private=1, ?concurrency=N and ?processes=N"
        )
    options: dict[str, int] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        high = {"private": 1, "concurrency": MAX_SLOTS, "processes": MAX_SLOTS}.get(name)
        if high is None:
            raise UnknownExecutorError(
                f"{spot}: memory:// has no option {shown(name)}; there are private, concurrency and processes"
            )
        number = int(value) if value.isdecimal() and len(value) < 20 else -1  # Python does not read thousands of digits
        if not (name != "private") <= number <= high:
            raise UnknownExecutorError(f"{spot}: {name}={shown(value)} must be a whole number up to {high}")
        options[name] = number
    return options
