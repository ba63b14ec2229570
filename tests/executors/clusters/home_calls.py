"""Handlers of tests that talk to their tests through memory: a cluster makes the attempts, and calls home for the body.

What is tested is all that the executor does: orders, results and reports go through the workers. Only the function
itself runs here, in a thread for each call or on an event loop, and the worker waits for it.
"""

from __future__ import annotations

import asyncio
import functools
import os
import queue
import threading
from collections.abc import Callable
from contextvars import copy_context
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

import cloudpickle

from executors._leasing._distant_run import DistantGrant
from executors._leasing._loop import LoopThread
from executors._leasing._wire import Brief, packed, unpacked
from flows._children import Children
from flows._context import Context, current_grant
from flows._handlers import finished
from flows._telemetry import carried

_local = threading.local()


class Home:
    """Where calls of handlers come to. To be closed."""

    def __init__(self) -> None:
        self.key = os.urandom(16)
        self._listener = Listener(None, backlog=128, authkey=self.key)
        self.address = str(self._listener.address)
        self.functions: dict[int, tuple[Callable[..., Any], bool]] = {}
        self._loop = LoopThread()
        self._closed = False
        threading.Thread(target=self._accept, name="home-calls", daemon=True).start()

    def taking(self, fn: Callable[..., Any], awaits: bool) -> Callable[..., Any]:
        """What travels in the place of a handler."""
        number = len(self.functions)
        self.functions[number] = fn, awaits
        call = _AsyncCall if awaits else _Call
        return call(self.address, self.key, number)

    def close(self) -> None:
        """Take no more calls."""
        self._closed = True
        Client(self.address, authkey=self.key).close()
        self._listener.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                link = self._listener.accept()
            except OSError:
                continue
            threading.Thread(target=self._serve, args=(link,), name="home-call", daemon=True).start()

    def _serve(self, link: Connection[Any, Any]) -> None:
        with link:
            while True:
                try:
                    message = link.recv_bytes()
                except (EOFError, OSError):
                    return
                _Turn(self, link).take(message)


class _Turn:
    """One call, at home."""

    def __init__(self, home: Home, link: Connection[Any, Any]) -> None:
        self._home = home
        self._link = link
        self._sending = threading.Lock()
        self.found = Children({}, {})

    def send(self, tag: bytes, data: bytes = b"") -> None:
        with self._sending:
            self._link.send_bytes(tag + data)

    def children(self) -> Children:
        return self.found

    def take(self, message: bytes) -> None:
        number, brief, self.found, args, kwargs, contexts = cloudpickle.loads(message)
        fn, awaits = self._home.functions[number]
        grant = DistantGrant(brief, self)
        kwargs |= {name: Context(grant) for name in contexts}
        ended: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        tasks: list[asyncio.Task[None]] = []
        if awaits:
            self._home._loop.call(lambda: tasks.append(asyncio.ensure_future(_awaited(ended, grant, fn, args, kwargs))))
        else:
            threading.Thread(target=_called, args=(ended, grant, fn, args, kwargs), daemon=True).start()
        threading.Thread(target=self._answer, args=(ended,), daemon=True).start()
        while True:
            said = self._link.recv_bytes()
            if said == b"over":
                return
            grant.stop = said.decode()
            if awaits:
                self._home._loop.call(lambda: tasks[0].cancel())

    def _answer(self, ended: queue.SimpleQueue[bytes]) -> None:
        self.send(b"!", ended.get())


def _ended(make: Callable[[], Any]) -> bytes:
    try:
        ended: bytes = cloudpickle.dumps((finished(make()), None))
    except Exception as error:
        ended = cloudpickle.dumps((None, packed(error, "", final=False, dumps=cloudpickle.dumps)))
    return ended


def _raise(error: BaseException) -> Any:
    raise error


def _called(ended: queue.SimpleQueue[bytes], grant: Any, fn: Any, args: Any, kwargs: Any) -> None:
    current_grant.set(grant)

    def call() -> Any:
        with carried(grant.run.carrier):
            return copy_context().run(fn, *args, **kwargs)

    try:
        ended.put(_ended(call))
    except BaseException as error:
        ended.put(cloudpickle.dumps((None, error)))


async def _awaited(ended: queue.SimpleQueue[bytes], grant: Any, fn: Any, args: Any, kwargs: Any) -> None:
    current_grant.set(grant)
    try:
        with carried(grant.run.carrier):
            value = await fn(*args, **kwargs)
        ended.put(_ended(lambda: value))
    except asyncio.CancelledError as error:
        ended.put(cloudpickle.dumps((None, error)))
    except Exception as error:
        ended.put(_ended(functools.partial(_raise, error)))
    except BaseException as error:
        ended.put(cloudpickle.dumps((None, error)))


class _Call:
    """A handler, as the worker sees it."""

    def __init__(self, address: str, key: bytes, number: int) -> None:
        self.address, self.key, self.number = address, key, number

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        link = getattr(_local, "link", None)
        if link is None:
            link = _local.link = Client(self.address, authkey=self.key)
        stopper: list[bool] = []
        return self.talk(link, current_grant.get(), args, kwargs, stopper)

    def talk(self, link: Connection[Any, Any], grant: Any, args: Any, kwargs: Any, over: list[bool]) -> Any:
        contexts = [name for name, value in kwargs.items() if isinstance(value, Context)]
        kwargs = {name: value for name, value in kwargs.items() if name not in contexts}
        run = grant.run
        plan = run.plan
        names = plan.ids[0], plan.names[0], plan.queues_of[0]
        brief = Brief(run.id, run.key, plan.name, *names, grant.attempt, plan.settings[0], run.carrier)
        link.send_bytes(cloudpickle.dumps((self.number, brief, grant.distant(), args, kwargs, contexts)))
        told = False
        while True:
            if not link.poll(0.02):
                if grant.stop is not None and not told:
                    told = True
                    link.send_bytes(grant.stop.encode())
                continue
            message = link.recv_bytes()
            if message[:1] == b"!":
                link.send_bytes(b"over")
                value, error = cloudpickle.loads(message[1:])
                if error is not None:
                    raise error if isinstance(error, BaseException) else unpacked(error)
                return value
            run._link.send(message[:1], message[1:])


class _AsyncCall(_Call):
    """An async handler, as the worker sees it."""

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        grant = current_grant.get()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()

        def ask() -> None:
            with Client(self.address, authkey=self.key) as link:
                try:
                    value, error = self.talk(link, grant, args, kwargs, []), None
                except BaseException as raised:
                    value, error = None, raised
            loop.call_soon_threadsafe(answer.set_result, (value, error))

        threading.Thread(target=copy_context().run, args=(ask,), daemon=True).start()
        try:
            value, error = await asyncio.shield(answer)
        except asyncio.CancelledError:
            grant.stop = grant.stop or "cancelled"
            value, error = await answer
        if error is not None:
            raise error
        return value
