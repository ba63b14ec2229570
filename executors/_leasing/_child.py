"""What runs in a child process: makes the calls that its parent sends, one after the other, until the parent hangs up.

The handler has the main thread. Another reads the socket, so that a handler can be told to stop; when the parent is
gone, whatever it died of, that thread ends the process.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
from collections.abc import Callable
from contextvars import copy_context
from multiprocessing import spawn
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, Final

from executors._leasing import _main_import
from executors._leasing._distant_run import DistantGrant
from executors._leasing._surroundings import Surroundings
from executors._leasing._wire import (
    BEGUN,
    CHILDREN,
    DONE,
    JOB,
    NUMBER_BYTES,
    RAISED,
    STOP,
    WANTED,
    Call,
    Place,
    dumps,
    loads,
    packed,
)
from flows._children import Children
from flows._context import Context, current_grant
from flows._handlers import BadResultError, finished
from flows._task import Task
from flows._telemetry import carried, flush
from flows.errors import DataError, DefinitionError

MAIN: Final = ("__main__", "__mp_main__")
LEAVE_SECONDS: Final = 1.0
"""How long the interpreter may take to go down when the parent has hung up."""


def serve(link: Connection[Any, Any], start: dict[str, Any]) -> None:
    """Serve the parent at the other end of *link* until it hangs up."""
    sys.argv[:] = start["argv"]
    os.set_inheritable(link.fileno(), False)
    os.register_at_fork(after_in_child=link.close)  # what a handler forks must not keep the socket open
    _Server(link, start["main"]).run()


class _UnableError(Exception):
    """The call cannot be made here, however often it is tried."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class _Server:
    def __init__(self, link: Connection[Any, Any], script: dict[str, str]) -> None:
        self._link = link
        self._script: dict[str, str] | None = script
        self._broken_script: Exception | None = None
        self._sending = threading.Lock()
        self._asking = threading.Lock()
        self._jobs: SimpleQueue[bytes | None] = SimpleQueue()
        self._answers: SimpleQueue[bytes] = SimpleQueue()
        self._busy = False
        self._stops: dict[int, str] = {}
        self._grant: tuple[int, DistantGrant] | None = None

    def run(self) -> None:
        threading.Thread(target=self._read, name="flows-parent", daemon=True).start()
        while True:
            message = self._jobs.get()
            if message is None:
                return
            tag, data = self._answer(message)
            self._busy = False
            self.send(tag, data)
            del message, data  # a large result must not stay for as long as the child is idle

    def send(self, tag: bytes, data: bytes = b"") -> None:
        with self._sending:
            try:
                self._link.send_bytes(tag + data)
            except OSError:  # the parent is gone
                os._exit(1)

    def children(self) -> Children:
        """Ask the parent for the results of the dependencies."""
        with self._asking:
            self.send(WANTED)
            answer = loads(self._answers.get())
        if isinstance(answer, str):
            raise DataError(answer)
        assert isinstance(answer, Children)
        return answer

    def _read(self) -> None:
        while True:
            try:
                message = self._link.recv_bytes()
            except (EOFError, OSError):
                break
            tag = message[:1]
            if tag == JOB:
                self._busy = True
                self._jobs.put(message)
            elif tag == CHILDREN:
                self._answers.put(message[1:])
            elif tag == STOP:
                number, why = loads(message[1:])
                self._stops[number] = why
                current = self._grant
                if current is not None and current[0] == number:
                    current[1].stop = why
        if not self._busy:
            self._jobs.put(None)
            threading.Event().wait(LEAVE_SECONDS)
        os._exit(1)

    def _answer(self, message: bytes) -> tuple[bytes, bytes]:
        """Make one call; gives what to say of it."""
        job_id = ""
        try:
            call, fn = self._understood(message)
            job_id = call.brief.job_id
            value = self._called(int.from_bytes(message[1 : 1 + NUMBER_BYTES]), call, fn)
            return DONE, _packed_result(value)
        except _UnableError as unable:
            return RAISED, dumps(packed(unable.error, job_id, final=True))
        except Exception as error:
            return RAISED, dumps(packed(error, job_id, final=False))
        except BaseException as error:  # SystemExit and its like: meant for a process, and this is not the worker's
            failure = RuntimeError(f"the handler raised {type(error).__name__}: {error}".removesuffix(": "))
            failure.__cause__ = error
            return RAISED, dumps(packed(failure, job_id, final=False))
        finally:
            self._grant = None
            self._stops.clear()
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(Exception):
                    stream.flush()

    def _understood(self, message: bytes) -> tuple[Call, Callable[..., Any]]:
        try:
            if b"_main__" in message:  # data or the function itself are of the script
                self._import_script()
            call: Call = loads(memoryview(message)[1 + NUMBER_BYTES :])
        except DefinitionError as error:
            raise _UnableError(error) from None
        except Exception as error:
            problem: DefinitionError = DataError(
                f"the arguments could not be read in the process: {type(error).__name__}: {error}"
            )
            problem.__cause__ = error
            raise _UnableError(problem) from None
        try:
            return call, _found(call.place)
        except BaseException as error:
            problem = DefinitionError(
                f"task {call.brief.task!r}: {call.place.path!r} of module {call.place.module!r} could not be imported "
                f"in a process: {type(error).__name__}: {error}"
            )
            problem.__cause__ = error
            raise _UnableError(problem) from None

    def _import_script(self) -> None:
        """Import the parent's ``__main__``, once, under another name, so that what it guards does not run."""
        if self._script is not None:
            script, self._script = self._script, None
            _main_import.under_way = True
            try:
                spawn.prepare(script)
            except BaseException as error:
                if isinstance(error, DefinitionError):
                    self._broken_script = error
                else:
                    self._broken_script = DefinitionError(
                        f"the script could not be imported in a process: {type(error).__name__}: {error}"
                    )
                    self._broken_script.__cause__ = error
            finally:
                _main_import.under_way = False
        if self._broken_script is not None:
            raise self._broken_script

    def _called(self, number: int, call: Call, fn: Callable[..., Any]) -> Any:
        grant = DistantGrant(call.brief, self)
        self._grant = (number, grant)
        grant.stop = self._stops.get(number)
        kwargs = call.kwargs | {name: Context(grant) for name in call.contexts}
        current_grant.set(grant)
        around = Surroundings()
        self.send(BEGUN)
        try:
            with carried(call.brief.carrier):
                if call.is_async:
                    import asyncio

                    return finished(asyncio.run(fn(*call.args, **kwargs)))
                return finished(copy_context().run(fn, *call.args, **kwargs))
        finally:
            around.restore()
            if call.brief.carrier:
                flush()  # a child may be killed while it waits for its next job


def _found(place: Place) -> Callable[..., Any]:
    found: Any = sys.modules["__main__"] if place.module in MAIN else importlib.import_module(place.module)
    for part in place.path.split("."):
        found = getattr(found, part)
    fn = found.fn if isinstance(found, Task) else found
    if not callable(fn):
        raise TypeError("it is no function here")
    return fn


def _packed_result(value: object) -> bytes:
    try:
        return dumps(value)
    except Exception as error:
        raise BadResultError(
            f"the result, of type {type(value).__name__}, cannot leave the process: {type(error).__name__}: {error}; "
            "return plain data. What the handler did stands, so it is not tried again."
        ) from error
