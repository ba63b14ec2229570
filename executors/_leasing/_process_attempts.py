"""Attempts in child processes, as a hand makes them: it sends the call, listens, and settles once.

A seat, a child, a call: the arguments are bound here and go to the child, which says how far it is, and in the end what
came of it. A child that is gone without that is a lost lease; one that is to stop is told, and killed by the monitor
when it does not.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Final, Protocol

from executors._leasing._process_handlers import ProcessHandler
from executors._leasing._processes import Child, processes
from executors._leasing._seats import Seats
from executors._leasing._wire import (
    BEGUN,
    CHILDREN,
    DONE,
    JOB,
    LOG,
    PROGRESS,
    STOP,
    WANTED,
    Brief,
    Call,
    Raised,
    dumps,
    loads,
    numbered,
    unpacked,
)
from flows._handlers import BadResultError, Clock, children_of, distant_inputs, judge_error, perform
from flows._opts import Settings
from flows._telemetry import carry
from flows._verbs import End, FailedSettle, Grant, Settle
from flows.errors import DataError, ExecutorError, JobTimeoutError, LeaseLostError

GRACE_SECONDS: Final = 5.0
"""How long a handler that was told to stop may go on before its process is killed."""

BOOT_SECONDS: Final = 60.0
"""How long a process may take, beyond the job's timeout, to start and import what the job needs."""

Judge = Callable[[Grant, Exception, float, float], Settle]

TIMEOUT: Final = "timeout"
CANCELLED: Final = "cancelled"


class Cancelling(Protocol):
    """What says whether a handler should stop."""

    @property
    def cancelling(self) -> bool: ...


class Interruptible(Protocol):
    """The run of an attempt, as far as the conversation with a child needs to know it."""

    @property
    def state(self) -> Cancelling: ...
    @property
    def interrupters(self) -> list[Callable[[], None]]: ...
    @property
    def ended(self) -> bool: ...


class ProcessAttempts:
    """Makes the attempts of one run: those of process handlers in children, the others in the calling thread.

    Args:
        run: The run.
        worker: The worker's name, shown beside attempts together with the child's process id.
        seats: How many children at once.
    """

    def __init__(self, run: Interruptible, worker: str, seats: Seats) -> None:
        self._run = run
        self._worker = worker
        self._seats = seats

    def __call__(self, grant: Grant, clock: Clock) -> Settle:
        """One attempt, from grant to settle.

        Raises:
            BaseException: What interrupts the calling thread; the child has been killed.
        """
        handler = grant.run.handlers[grant.job]
        if type(handler) is not ProcessHandler:
            return perform(grant, clock)
        run, seats = self._run, self._seats
        run.interrupters.append(seats.wake)
        try:
            seated = seats.take(lambda: run.state.cancelling)
        finally:
            run.interrupters.remove(seats.wake)
        if not seated:
            now = clock()
            return Settle(grant, End.CANCELLED, None, now, now)
        try:
            return Conversation(run, grant, handler, clock, self._worker).settle()
        finally:
            seats.leave()


class Conversation:
    """One attempt: what is said to the child and what comes back."""

    def __init__(self, run: Interruptible, grant: Grant, handler: ProcessHandler, clock: Clock, worker: str) -> None:
        self._run = run
        self._grant = grant
        self._handler = handler
        self._clock = clock
        self._worker = worker
        self._started_at = clock()
        self._begun = False
        self._timeout = grant.run.plan.settings[grant.job].timeout

    def settle(self) -> Settle:
        """Make the attempt; what is raised on the way is an error of the attempt."""
        try:
            message = self._message()
            while True:
                try:
                    child = processes.take()
                except OSError as error:
                    return self._lost(f"no process could be started: {error}")
                fresh = child.number == 1
                try:
                    answer = self._talk(child, message)
                except BaseException:
                    processes.drop(child)
                    raise
                if answer is not None:
                    return self._judge(answer, processes.give_back(child))
                how = processes.drop(child)
                if self._begun or fresh or child.doom is not None:
                    return self._gone(child, how)
        except Exception as error:
            return judge_error(self._grant, error, self._started_at, self._clock())

    def _message(self) -> bytes:
        args, kwargs, contexts = distant_inputs(self._grant, self._handler)
        call = Call(self._handler.place, self._handler.awaits, self._brief(), tuple(args), kwargs, contexts)
        try:
            return dumps(call)
        except Exception as error:
            raise DataError(
                f"the arguments cannot be sent to a process: {type(error).__name__}: {error}; pass plain data, or run "
                "the job in a thread"
            ) from error

    def _brief(self) -> Brief:
        run, job = self._grant.run, self._grant.job
        plan, known = run.plan, run.plan.settings[job]
        place = plan.ids[job], plan.names[job], plan.queues_of[job]
        return Brief(run.id, run.key, plan.name, *place, self._grant.attempt, plain(known), carry())

    def _talk(self, child: Child, message: bytes) -> tuple[bytes, bytes] | None:
        """Have the call made; None when the child is gone before it has answered."""
        number, run = child.number, self._run
        if self._timeout is not None:
            processes.end_by(child, number, time.monotonic() + BOOT_SECONDS + self._timeout, TIMEOUT)
        stop = functools.partial(self._stop, child, number)
        run.interrupters.append(stop)
        try:
            child.send(JOB + numbered(number), message)
            if run.state.cancelling:
                stop()
            while True:
                heard = child.receive()
                if heard is None or not self._heard(child, number, *heard):
                    return heard
        except OSError:
            return None
        finally:
            run.interrupters.remove(stop)

    def _heard(self, child: Child, number: int, tag: bytes, data: bytes) -> bool:
        """Do what the child says; False when it was the answer."""
        run, job = self._grant.run, self._grant.job
        if tag == BEGUN:
            self._begun = True
            self._started_at = self._clock()
            if self._timeout is not None:
                processes.end_by(child, number, time.monotonic() + self._timeout, TIMEOUT)
            run.placed(job, f"{self._worker}/{child.pid}")
        elif tag == PROGRESS:
            run.report(job, loads(data))
        elif tag == LOG:
            run.record(job, loads(data))
        elif tag == WANTED:
            child.send(CHILDREN, self._children())
        else:
            return False
        return True

    def _children(self) -> bytes:
        try:
            return dumps(children_of(self._grant))
        except Exception as error:
            return dumps(f"the results of the dependencies cannot be sent to a process: {error}")

    def _stop(self, child: Child, number: int) -> None:
        """The run was cancelled, or has ended by force: then nobody waits for what the handler makes of it."""
        grace = 0.0 if self._run.ended else GRACE_SECONDS
        processes.end_by(child, number, time.monotonic() + grace, CANCELLED)
        try:
            child.send(STOP, dumps((number, "the run was cancelled")))
        except OSError:
            return  # it has just ended

    def _judge(self, answer: tuple[bytes, bytes], doom: str | None) -> Settle:
        tag, data = answer
        if doom == TIMEOUT:
            return self._timed_out()
        now = self._clock()
        if tag == DONE:
            try:
                return Settle(self._grant, End.COMPLETED, loads(data), self._started_at, now)
            except Exception as error:
                raise BadResultError(
                    f"the result could not be read back from the process: {type(error).__name__}: {error}; return "
                    "plain data. What the handler did stands, so it is not tried again."
                ) from error
        return settled(self._grant, loads(data), self._started_at, now)

    def _gone(self, child: Child, how: str) -> Settle:
        if child.doom == TIMEOUT:
            return self._timed_out()
        now = self._clock()
        if child.doom == CANCELLED:
            return Settle(self._grant, End.CANCELLED, None, self._started_at, now)
        if child.doom is not None:
            error = ExecutorError("the interpreter is going down: the process of the job was ended")
            return FailedSettle(self._grant, End.FAILED, error, self._started_at, now)
        return self._lost(f"process {child.pid} {how}")

    def _timed_out(self) -> Settle:
        error = JobTimeoutError(f"timeout of {self._timeout:g} s passed; its process was killed", job=self._job_id)
        return judge_error(self._grant, error, self._started_at, self._clock())

    def _lost(self, how: str) -> Settle:
        error = LeaseLostError(how, job=self._job_id)
        return FailedSettle(self._grant, End.LOST, error, self._started_at, self._clock())

    @property
    def _job_id(self) -> str:
        return self._grant.run.plan.ids[self._grant.job]


def plain(settings: Settings) -> Settings:
    """*settings* as they travel. Rules that are code stay here: they need not pickle, and nobody there asks them."""
    return Settings(
        attempts=settings.attempts,
        timeout=settings.timeout,
        priority=settings.priority,
        on_failure=settings.on_failure,
        idempotency_key=settings.idempotency_key,
        run_in=settings.run_in,
    )


def settled(grant: Grant, raised: Raised, started_at: float, ended_at: float, judge: Judge = judge_error) -> Settle:
    """What becomes of an attempt whose handler has raised elsewhere, by what *judge* says of the error.

    What is kept of the error is as it was seen there, where its frames are.
    """
    came = unpacked(raised)
    if raised.final:
        settle: Settle = FailedSettle(grant, End.FAILED, came, started_at, ended_at)
    else:
        settle = judge(grant, came, started_at, ended_at)
    if isinstance(settle, FailedSettle) and settle.failed is not None:
        kept = raised.failed
        settle.failed = dataclasses.replace(
            settle.failed, type=kept.type, message=kept.message, traceback=kept.traceback
        )
    return settle
