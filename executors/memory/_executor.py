"""MemoryExecutor: runs worked off in this process, with no server and no file."""

from __future__ import annotations

import itertools
import os
import sys
import threading
import weakref
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from executors._leasing import Crew
from executors.memory._growth import Mould
from executors.memory._run import MemoryRun
from executors.memory._store import MemoryStore
from flows import _registry
from flows._binding import Arguments, Binding
from flows._bodies import Body, bodies_of
from flows._executors import masked
from flows._handlers import Handler
from flows._names import shown
from flows._plan import Plan
from flows.errors import DefinitionError, IdempotencyConflictError, RunError, UnknownExecutorError, UnsupportedError
from flows.executor import RunOptions

SLOTS: Final = 32
"""Handlers at once, where the URL does not say: blocking ones overlap well, and computing ones do not fight for the
interpreter.
"""

MAX_SLOTS: Final = 10_000

_numbers = itertools.count(1)
"""Tell the crews of this process apart."""


class _Home:
    """Where runs live: a store, and what finds them in it again."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.runs: weakref.WeakValueDictionary[str, MemoryRun] = weakref.WeakValueDictionary()
        self.keyed: dict[str, MemoryRun] = {}
        self.lock = threading.Lock()

    def put(self, run: MemoryRun) -> None:
        """Accept a run and release its leaves."""
        self.runs[run.id] = run
        self.store.put_run(run)

    def file(self, key: str, run: MemoryRun) -> MemoryRun:
        """Accept *run* under *key*, or give the run that has it; of many callers at once one is the first."""
        with self.lock:
            former = self.keyed.get(key)
            if former is None:
                self.put(run)  # before others can find it: whoever joins it must find its jobs
                self.keyed[key] = run
                return run
        theirs, ours = former.plan.fingerprint[:12], run.plan.fingerprint[:12]
        if theirs != ours:
            raise IdempotencyConflictError(
                f"the key {key!r} belongs to run {former.id} of another flow (fingerprint {theirs}, not {ours}); "
                "use another key for other work"
            )
        return former


_process_home = _Home()


def _after_fork() -> None:
    global _process_home
    _process_home = _Home()  # its runs are the parent's, and its locks may have been held


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class MemoryExecutor:
    """Runs in the memory of this process; they die with it.

    ``memory://`` is one store per process, whatever its other options; ``memory://?private=1`` a store of its own.
    ``concurrency=N`` says how many handlers of a run may run at once. Runs without a key leave the store with their
    `Run` object.
    """

    embedded = True

    def __init__(self, url: str = "memory://") -> None:
        options = _options(url)
        self.slots = options.get("concurrency", SLOTS)
        self._own = _Home() if options.get("private") else None

    @property
    def store(self) -> MemoryStore:
        """The store that the runs live in."""
        return self._home.store

    @property
    def _home(self) -> _Home:
        return self._own or _process_home

    def submit(self, plan: Plan[Any], options: RunOptions, *, background: bool) -> MemoryRun:
        """Accept a run: all of it or, if this raises, nothing."""
        handlers = _handlers(plan)
        bindings = _bindings(plan, handlers)
        home = self._home
        run = MemoryRun(options, plan, handlers, bindings, home.store.clock, home.store.epoch, _moulds(plan))
        if options.key is None:
            home.put(run)
        else:
            _ = plan.fingerprint  # data that has none is refused before anything is stored
            run = home.file(options.key, run)
        if background:
            self.join(run)
        return run

    def find(self, *, run_id: str | None = None, key: str | None = None) -> MemoryRun | None:
        """The run of that id or key, if there is one."""
        return self._home.keyed.get(key) if key is not None else self._home.runs.get(run_id or "")

    def work(self, record: MemoryRun, timeout: float | None) -> bool:
        """Work the run off, lending it the calling thread where that is safe, and return when it has ended."""
        deadline = None if timeout is None else self.store.clock() + timeout
        if record.ended:
            return True
        if record.has_async:
            _check_loop(record)
        crew, mine = self._crew(record)
        if mine and timeout is None and not record.has_timeout and not _loop_runs_here():
            crew.lend()
            return True
        return crew.await_end(deadline)

    def join(self, record: MemoryRun, *, blocks: bool = False) -> None:
        """Work the run off in background threads, if nobody does yet."""
        if not record.ended:
            if blocks and record.has_async:
                _check_loop(record)
            crew, mine = self._crew(record)
            if mine:
                crew.start()

    def cancel(self, record: MemoryRun, reason: str) -> None:
        """Cancel a run: what has not started is cancelled, running handlers are told to stop."""
        self.store.cancel(record, reason)

    def reopen(self, record: MemoryRun, job: int | None, *, anew: bool) -> None:
        """Have jobs of an ended run done again, once somebody works on it: `work` and `join` do."""
        self.store.reopen(record, job, anew=anew)

    def _crew(self, run: MemoryRun) -> tuple[Crew, bool]:
        """The crew that works on *run*, and whether it was made just now."""
        with self._home.lock:
            if run.crew is not None and not run.crew.over:
                return run.crew, False
            name = f"{os.getpid()}-{next(_numbers)}"
            run.crew = crew = Crew(self.store, run, slots=self.slots, name=name, on_end=run.dismiss)
            return crew, True


def _handlers(plan: Plan[Any]) -> Sequence[Handler]:
    """The handler of each job.

    Raises:
        UnknownTaskError: A job's task is not registered here; all such jobs in one error.
    """
    tasks: Sequence[Any] = plan.tasks
    if None in tasks:
        tasks = [task or _registry.find(*place) for task, *place in zip(tasks, plan.names, plan.queues_of, strict=True)]
        if None in tasks:
            places = zip(tasks, plan.names, plan.queues_of, plan.ids, strict=True)
            raise DefinitionError.of([_registry.unknown(*place) for task, *place in places if task is None])
    made = {task: Handler(task) for task in dict.fromkeys(tasks)}
    for settings in plan.distinct:
        if settings.run_in == "process":
            raise UnsupportedError(
                "run_in='process' is not available on this executor yet; leave it out to run in a thread"
            )
    return [made[task] for task in tasks]


def _moulds(plan: Plan[Any]) -> dict[Body, Mould]:
    """How the bodies of the plan's lists are stamped out; their handlers and data are checked as the plan's own."""
    if not plan.lists:
        return {}
    moulds: dict[Body, Mould] = {}
    for body in bodies_of(plan):
        handlers = _handlers(body.plan)
        moulds[body] = Mould(body, handlers, _bindings(body.plan, handlers))
    return moulds


def _bindings(plan: Plan[Any], handlers: Sequence[Handler]) -> Sequence[Binding]:
    """The plan's bindings, with the data of literal jobs validated by the handlers' type hints.

    Raises:
        DataError: Data does not fit; all problems in one error.
    """
    if None not in plan.tasks:
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


def _loop_runs_here() -> bool:
    """Whether an event loop runs in this thread: a sync handler beside it could not start one of its own."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


def _check_loop(run: MemoryRun) -> None:
    """Refuse to wait for async handlers where they cannot go on meanwhile.

    Raises:
        RunError: The caller is itself an async handler, and would wait for ever.
    """
    from executors._leasing._loop import loop_thread

    if loop_thread.runs_here():
        raise RunError(
            f"run {run.id} has async handlers; to wait for it inside an async handler would block the event loop that "
            "they run on, for ever: use await flows.aexecute(...), or await run"
        )


def _options(url: str) -> dict[str, int]:
    parts, spot = urlsplit(url), shown(masked(url))
    if parts.netloc or parts.path not in ("", "/"):
        raise UnknownExecutorError(f"{spot}: memory:// takes no host or path, only ?private=1 and ?concurrency=N")
    options: dict[str, int] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        high = {"private": 1, "concurrency": MAX_SLOTS}.get(name)
        if high is None:
            raise UnknownExecutorError(f"{spot}: memory:// has no option {name!r}; there are private and concurrency")
        if not value.isdecimal() or not (name == "private" or int(value) >= 1) or int(value) > high:
            raise UnknownExecutorError(f"{spot}: {name}={value!r} must be a whole number up to {high}")
        options[name] = int(value)
    return options
