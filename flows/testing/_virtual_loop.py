"""VirtualLoop: an event loop whose time is the simulation's and which never waits for anything.

All that is called later goes into the simulation's one heap, so handlers that sleep for an hour take no time, and
`asyncio.timeout`, task groups and cancellation work as ever: tasks and futures are asyncio's own.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextvars import Context
from typing import Any, Final, NoReturn, Protocol, TypeVar, TypeVarTuple

from flows.testing._ledger import attempt_here

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

Later = Callable[[float, Callable[[], None]], None]


class Guard(Protocol):
    """What looks after handlers while they run."""

    def begin(self) -> None:
        """A handler's code runs from now on."""
        ...

    def end(self) -> None:
        """It does not, any more."""
        ...

    def refuse(self, call: str, kind: str) -> NoReturn:
        """Raise what tells that *call* is not to be had."""
        ...


_NOT_HERE: Final = dict.fromkeys(
    (
        *("create_connection", "create_server", "create_datagram_endpoint", "create_unix_connection"),
        *("create_unix_server", "connect_accepted_socket", "start_tls", "sendfile", "getaddrinfo", "getnameinfo"),
        *("sock_connect", "sock_accept", "sock_recv", "sock_recv_into", "sock_recvfrom", "sock_recvfrom_into"),
        *("sock_sendall", "sock_sendto", "sock_sendfile", "add_reader", "add_writer", "remove_reader"),
        *("remove_writer", "connect_read_pipe", "connect_write_pipe"),
    ),
    "sockets",
) | dict.fromkeys(("subprocess_exec", "subprocess_shell", "add_signal_handler", "remove_signal_handler"), "processes")
"""What asyncio's loops have and this one has not -> what that is."""


class VirtualLoop(asyncio.AbstractEventLoop):
    """The event loop of one simulated worker.

    Args:
        later: Calls back after so many seconds of the simulation.
        clock: The simulation's time, in seconds.
        guard: What looks after the code of handlers.
    """

    def __init__(self, later: Later, clock: Callable[[], float], guard: Guard) -> None:
        self._later = later
        self._clock = clock
        self._guard = guard
        self._watched: list[Watched] = []
        self._own: list[Coroutine[Any, Any, Any]] = []
        self.dead = False
        self.faults: list[str] = []
        """What tasks raised that nobody awaited."""

    def time(self) -> float:
        return self._clock()

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._later(0.0, lambda: self._run(handle))
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._later(max(0.0, when - self.time()), lambda: self._run(handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        if attempt_here.get() is not None:  # a task of a handler's own
            coro = self.watched(coro)
        else:
            self._own.append(coro)
        return asyncio.Task(coro, loop=self, **options)

    def run_in_executor(self, executor: Any, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Run it here and now: there is one thread in a simulation."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def watched(self, coro: Coroutine[Any, Any, Any], awaits: Callable[[], None] | None = None) -> Watched:
        """A handler's coroutine, looked after at each of its steps; *awaits* is called when it has to wait."""
        watched = Watched(coro, self._guard, awaits)
        self._watched.append(watched)
        return watched

    def die(self) -> None:
        """The process of this loop is no more: nothing on it goes on. Handlers that it had are closed."""
        self.dead = True
        for coro in (*self._watched, *self._own):
            try:
                coro.close()
            except BaseException:  # what a handler that has died does in its last moments concerns nobody
                pass
        self._watched.clear()
        self._own.clear()

    def _run(self, handle: asyncio.Handle) -> None:
        if self.dead or handle.cancelled():
            return
        around, hooks = asyncio._get_running_loop(), sys.get_asyncgen_hooks()
        asyncio._set_running_loop(self)
        sys.set_asyncgen_hooks(firstiter=None, finalizer=self._close_generator)
        try:
            handle._run()
        finally:
            sys.set_asyncgen_hooks(*hooks)
            asyncio._set_running_loop(around)

    def _close_generator(self, generator: AsyncGenerator[Any, Any]) -> None:
        """An async generator that a handler has not read to its end is closed as a task of its own."""
        if not self.dead:
            self.create_task(generator.aclose())

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self.dead:
            self.faults.append(f"{context.get('message')}: {context.get('exception')!r}")

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self.dead

    def is_closed(self) -> bool:
        return self.dead

    def get_task_factory(self) -> None:
        return None

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass

    def run_until_complete(self, future: Any) -> NoReturn:
        raise RuntimeError("the event loop of a simulation is run by the simulation")

    def run_forever(self) -> NoReturn:
        raise RuntimeError("the event loop of a simulation is run by the simulation")


class Watched(Coroutine[Any, Any, Any]):
    """A coroutine whose steps are looked after."""

    def __init__(self, coro: Coroutine[Any, Any, Any], guard: Guard, awaits: Callable[[], None] | None = None) -> None:
        self._coro = coro
        self._guard = guard
        self._awaits = awaits

    def send(self, value: Any) -> Any:
        self._guard.begin()
        try:
            awaited = self._coro.send(value)
        finally:
            self._guard.end()
        if self._awaits is not None:
            self._awaits()
        return awaited

    def throw(self, *error: Any) -> Any:
        self._guard.begin()
        try:
            return self._coro.throw(*error)
        finally:
            self._guard.end()

    def close(self) -> None:
        self._coro.close()

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return self.send(None)


def _refuse(name: str, kind: str) -> Callable[..., NoReturn]:
    def refuse(self: VirtualLoop, *args: object, **options: object) -> NoReturn:
        self._guard.refuse(f"loop.{name}", kind)

    return refuse


for _name, _kind in _NOT_HERE.items():
    setattr(VirtualLoop, _name, _refuse(_name, _kind))
