"""Worker: works jobs of any run off, for whoever submits them, from this process or any other.

A `Worker` has its options and, once started, a `Service` that its executor has made of them, which does the work. Here
are the checks before that, and the signals around it.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Final, cast

from flows import _registry
from flows._duration import Duration, seconds
from flows._executors import executor_of
from flows._names import check_name, check_queue, shown
from flows._opts import Queue
from flows.errors import DefinitionError, ExecutorError, UnavailableError, UnsupportedError
from flows.executor import Serving, WorkerOptions

if TYPE_CHECKING:
    from flows.executor import Executor, Service

CONCURRENCY_LIMIT: Final = 10_000
GRACE_LIMIT: Final = 86_400.0

EXIT_UNWELL: Final = 3
"""The exit code of a worker that ended because too many of its threads are held by handlers that timed out."""

LOOK_SECONDS: Final = 1.0
"""How long a signal may go unseen at worst: Python runs its handler only once the main thread runs."""

AGAIN_SECONDS: Final = 0.5
"""How long a worker waits between attempts to begin where its store is away."""

_log = logging.getLogger("flows")
_numbers = itertools.count(1)


class Worker:
    """Works off the jobs of some queues, whatever runs they are of, in background threads of this process.

    ``with Worker(...):`` begins and, at the end of the block, drains. ``Worker(...).run()`` blocks until it is told to
    end: by SIGTERM or SIGINT where it runs in the main thread, else by `drain` or `stop`. Sync handlers run in threads,
    async ones on an event loop, those that ask for it in processes.

    *Draining*: nothing more is claimed; what was claimed and has not started goes back. Running handlers have *grace*
    seconds to end. After that they are told to stop (async ones are cancelled, processes killed 5 s later, threads can
    ask `flows.current().cancelled`), and what has not completed within 2 s goes back to its queue, at no cost of an
    attempt. A worker that is killed instead loses its leases: others take its jobs over within 40 s.

    A handler that has timed out in a thread cannot be stopped, and keeps its slot. When such hold a quarter of the
    slots, the worker drains, and `run` exits with code 3, so that a supervisor starts another.

    Args:
        executor: A URL or an executor object; left out: ``FLOWS_EXECUTOR``, then ``memory://``.
        queues: Names or `Queue` objects; left out: the queues of all tasks that are registered when it starts.
        concurrency: Handlers at once, 1 to 10,000.
        grace: How long running handlers may go on when it drains; seconds or ``"1m30s"``, at most a day.
        name: Shown beside the attempts that it makes; unique among the workers of a store. Left out: host and process.

    Raises:
        DefinitionError: An argument is wrong; all that are get listed.
        UnknownExecutorError: The URL means nothing here.
    """

    def __init__(
        self,
        executor: str | Executor | None = None,
        queues: Iterable[str | Queue] | None = None,
        concurrency: int = 50,
        grace: Duration = 30.0,
        name: str | None = None,
    ) -> None:
        problems: list[DefinitionError] = []

        def checked(check: Callable[[], Any]) -> Any:
            try:
                return check()
            except DefinitionError as error:
                problems.append(error)

        self._queues: dict[str, Queue | None] | None = checked(lambda: None if queues is None else _queues(queues))
        self.concurrency: int = checked(lambda: _concurrency(concurrency))
        self.grace: float = checked(lambda: _grace(grace))
        self.name: str = checked(lambda: _own_name() if name is None else check_name(name, "worker name"))
        if problems:
            raise DefinitionError.of(problems)
        self._executor = executor_of(executor)
        self._service: Service | None = None
        self._lock = threading.Lock()

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that it serves, or would serve if it started now."""
        return tuple(self._served())

    @property
    def running(self) -> bool:
        """Whether it has started and not ended."""
        service = self._service
        return service is not None and not service.wait(0)

    def start(self) -> None:
        """Begin to work in background threads; returns at once.

        Raises:
            DefinitionError: No queues were given, and no task is registered.
            UnsupportedError: The executor has no workers.
            ExecutorError: This worker runs already.
        """
        executor = self._executor
        if not hasattr(type(executor), "serve"):
            raise UnsupportedError(
                f"{type(executor).__name__} works its jobs off by itself and has no workers; leave the Worker out"
            )
        queues = self._served()
        if not queues:
            raise DefinitionError(
                "a worker needs queues: no task is registered that it could run; import the modules with your tasks "
                "first, or give queues="
            )
        self._look_at_queues(queues)
        limits = {name: (queue.concurrency, queue.rate_limit) for name, queue in queues.items() if queue is not None}
        with self._lock:
            if self.running:
                raise ExecutorError(f"worker {self.name!r} runs already")
            options = WorkerOptions(self.name, frozenset(queues), self.concurrency, self.grace, limits)
            self._service = cast("Serving", executor).serve(options)
            self._service.start()

    def run(self) -> None:
        """Start, and return when the worker has ended. Where the store is away, wait for it first.

        In the main thread, the first SIGTERM or SIGINT lets it drain, and a second one ends it at once. The handlers
        that the program had for them are back when this returns.

        Raises:
            SystemExit: With code 3 where too many threads were left behind; with 128 and the signal's number after a
                second signal.
            ExecutorError: The worker could not go on.
        """
        with self._signals() as caught:
            if not self._start_patiently(caught):
                return
            service = self._begun()
            if caught:  # before there was anything to drain
                service.drain()
            while not service.wait(LOOK_SECONDS):
                pass  # a signal that strikes just before a thread blocks is seen when that thread goes on
        if service.error is not None:
            raise service.error
        if service.unwell:
            raise SystemExit(EXIT_UNWELL)
        if len(caught) > 1:
            raise SystemExit(128 + caught[1])

    def drain(self) -> None:
        """Begin to drain; returns at once. Safe from signal handlers, and to repeat."""
        service = self._service
        if service is not None:
            service.drain()

    def stop(self, timeout: Duration | None = None) -> bool:
        """Drain, and wait for the end; a second call changes nothing.

        Args:
            timeout: How long to wait at most; the worker goes on draining after it.

        Returns:
            Whether it has ended.

        Raises:
            ExecutorError: The worker could not go on.
        """
        limit = None if timeout is None else seconds(timeout, "timeout")
        self.drain()
        return self.wait(limit)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has ended, for whatever reason; says whether it has.

        Raises:
            ExecutorError: The worker could not go on.
        """
        service = self._service
        if service is None:
            return True
        ended = service.wait(timeout)
        if ended and service.error is not None:
            raise service.error
        return ended

    def __enter__(self) -> Worker:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        service = self._begun()
        service.drain()
        try:
            service.wait(None)
        except BaseException:  # a second Ctrl-C: whoever presses it does not want to wait
            service.quit()
            raise
        if service.error is not None and error is None:
            raise service.error

    def __repr__(self) -> str:
        return f"<flows.Worker {self.name!r} for {', '.join(self.queues) or 'no queues'}>"

    def _start_patiently(self, caught: list[int]) -> bool:
        """Start as soon as the store answers; False: told to stop before that."""
        pause, waits = threading.Event(), False
        while not caught:
            try:
                self.start()
            except UnavailableError as error:
                if not waits:
                    _log.warning("worker %s waits for its store: %s", self.name, error)
                waits = True
                pause.wait(AGAIN_SECONDS)
            else:
                return True
        return False

    def _look_at_queues(self, queues: Mapping[str, Any]) -> None:
        """Say on which of its queues it has no task: such a name is mostly misspelt, or a module was not imported."""
        homes = {str(getattr(task.home, "name", task.home)) for task in _registry.registered()}
        strange = queues.keys() - homes
        if strange:
            level = logging.WARNING if strange == queues.keys() else logging.INFO
            theirs = f"its tasks are on {', '.join(sorted(homes))}" if homes else "it has no tasks at all"
            names = ", ".join(sorted(strange))
            _log.log(level, "worker %s has no task on %s, which it serves; %s", self.name, names, theirs)

    def _begun(self) -> Service:
        assert self._service is not None
        return self._service

    def _served(self) -> dict[str, Queue | None]:
        if self._queues is not None:
            return self._queues
        queues: dict[str, Queue | None] = {}
        for task in _registry.registered():
            home = task.home
            if isinstance(home, Queue):
                queues[home.name] = home
            else:
                queues.setdefault(home)
        return queues

    @contextmanager
    def _signals(self) -> Iterator[list[int]]:
        """Drain at the first signal, quit at the second; yields those that came."""
        caught: list[int] = []
        if threading.current_thread() is not threading.main_thread():
            yield caught
            return

        def catch(number: int, frame: FrameType | None) -> None:
            caught.append(number)
            service = self._service
            if service is not None:
                service.drain() if len(caught) == 1 else service.quit()

        former = {number: signal.signal(number, catch) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield caught
        finally:
            for number, handler in former.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _queues(given: Any) -> dict[str, Queue | None]:
    if isinstance(given, str | bytes | Queue) or not isinstance(given, Iterable):
        raise DefinitionError(f"queues {shown(given)}: is no list of queues; give several names, or one: ['payments']")
    queues: dict[str, Queue | None] = {}
    for one in given:
        if isinstance(one, Queue):
            queues[one.name] = one
        else:
            queues.setdefault(check_queue(one))
    if not queues:
        raise DefinitionError("queues: is empty; name one at least, or leave it out to serve those of all tasks")
    return queues


def _concurrency(given: object) -> int:
    if type(given) is not int or not 1 <= given <= CONCURRENCY_LIMIT:
        raise DefinitionError(f"concurrency {shown(given)}: must be a whole number from 1 to {CONCURRENCY_LIMIT:,}")
    return given


def _grace(given: Any) -> float:
    grace = seconds(given, "grace")
    if grace > GRACE_LIMIT:
        raise DefinitionError(f"grace {shown(given)}: is longer than a day; no supervisor waits that long")
    return grace


def _own_name() -> str:
    host = "".join(char for char in socket.gethostname() if char.isascii() and char.isprintable())[:64]
    return f"{host or 'worker'}-{os.getpid()}-{next(_numbers)}"
