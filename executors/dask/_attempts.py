"""Attempts on the cluster, as the event loop of a run makes them: an order goes out, a settle is what returns."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import cloudpickle

from executors._leasing._floor import RUN_CANCELLED
from executors._leasing._log import say
from executors._leasing._process_attempts import plain, settled
from executors._leasing._process_handlers import MAIN, place_of
from executors._leasing._wire import Brief, Place
from executors.dask import _cluster, _words
from executors.dask._cluster import Cluster
from executors.dask._flights import ANYWHERE, Flight, FlightKind, Landed
from executors.dask._remote import Remote, written
from executors.dask._words import Fault, Kind, Named, Order
from flows._handlers import Clock, Handler, distant_inputs, judge_error
from flows._opts import Settings
from flows._state import COMPLETED
from flows._telemetry import carry
from flows._verbs import End, FailedSettle, Grant, Settle
from flows.errors import DataError, DefinitionError, JobTimeoutError, LeaseLostError

if TYPE_CHECKING:
    from executors.dask._flights import Place as Where
    from flows._task import Task

GRACE_SECONDS: Final = 5.0
"""How long a handler that was told to stop may go on before nobody waits for it any more."""


class ClusterHandler(Handler):
    """A handler whose jobs run on the cluster. Here they are only waited for, so for the crew it is an async one.

    Raises:
        DefinitionError: It is to run in a process of its own, which could not import the function.
    """

    __slots__ = ("awaits", "place")

    def __init__(self, task: Task[..., Any], *, in_process: bool) -> None:
        super().__init__(task)
        self.awaits, self.is_async = self.is_async, True
        self.place: Place | None = None
        if in_process and type(task.fn) is not Named:
            self.place = place_of(task)
            if self.place.module in MAIN:
                raise DefinitionError(
                    f"task {task.name!r}: run_in='process' needs a function that a process on the cluster can import, "
                    "and this one is of the script that runs here; move it to a module, or leave run_in out"
                )


async def _undisturbed(stopping: Coroutine[Any, Any, Landed]) -> Landed:
    """What *stopping* gives, however often the task that waits for it is cancelled again."""
    inner = asyncio.get_running_loop().create_task(stopping)
    while not inner.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait((inner,))
    return inner.result()


class Attempts:
    """Makes the attempts of one run.

    Args:
        cluster: Where.
        places: Where the jobs of queues run, if not anywhere.
        clock: By which attempts are timed.
        lose: Called when the scheduler is gone.
        brings: Whether results come home, to be written down.
    """

    def __init__(
        self,
        cluster: Cluster,
        places: Mapping[str, Where],
        clock: Clock,
        lose: Callable[[], None],
        *,
        brings: bool,
    ) -> None:
        self._cluster = cluster
        self._places = places
        self._clock = clock
        self._lose = lose
        self._brings = brings
        self._kinds: dict[tuple[Handler, str, int], tuple[FlightKind, Settings]] = {}
        self._alike: dict[tuple[Any, ...], FlightKind] = {}
        self._handler = functools.cache(ClusterHandler)

    async def __call__(self, grant: Grant, clock: Callable[[], float]) -> Settle:
        """One attempt, from grant to settle."""
        started_at = clock()
        cluster = self._cluster
        try:
            flight = self._flight(grant)
        except Exception as error:
            return judge_error(grant, error, started_at, clock())
        cluster.send(flight)
        try:
            landed = await asyncio.shield(flight.landed)
        except asyncio.CancelledError:
            landed = await _undisturbed(self._stopped(flight))
        finally:
            cluster.drop(flight)
        settle = self._settle(flight, landed, started_at, clock())
        if self._brings and type(settle.value) is Remote:
            try:
                settle.value = await cluster.bring(settle.value)
            except Exception as error:
                return self.not_brought(grant, "its result was lost", error, settle.started_at)
        return settle

    def not_brought(self, grant: Grant, what: str, error: Exception, started_at: float) -> Settle:
        """A result did not come from the cluster."""
        if self._cluster.away:
            self._lose()
            return Settle(grant, End.RELEASED, None, started_at, self._clock())
        lost = LeaseLostError(f"{what}: {type(error).__name__}: {error}", job=grant.run.plan.ids[grant.job])
        return FailedSettle(grant, End.LOST, lost, started_at, self._clock())

    async def _stopped(self, flight: Flight) -> Landed:
        """The run was cancelled: handlers are told, and waited for; what has not begun never will.

        When the run's deadline has passed, those that do not stop are left behind after a while.
        """
        never = Landed(_words.STOPPED, b"", 0.0, 0.0, flight.worker)
        told = self._cluster.stop(flight, RUN_CANCELLED)
        await asyncio.wait((flight.landed, told), return_when=asyncio.FIRST_COMPLETED)
        if flight.landed.done():
            return flight.landed.result()
        if not told.result() and not flight.worker:
            return never
        deadline_at = flight.grant.run.deadline_at
        overdue = deadline_at is not None and self._clock() >= deadline_at
        await asyncio.wait((flight.landed,), timeout=GRACE_SECONDS if overdue else None)
        if flight.landed.done():
            return flight.landed.result()
        say(logging.WARNING, "job %r does not stop; its result will be dropped", flight.order.job_id)
        return never

    def _flight(self, grant: Grant) -> Flight:
        run, job = grant.run, grant.job
        plan, handler = run.plan, run.handlers[job]
        settings = plan.settings[job]
        if not isinstance(handler, ClusterHandler):  # of a run that is kept in a file
            handler = self._handler(handler.task, in_process=settings.run_in == "process")
        ids, call, inputs = self._call(grant, handler)
        mark = run.id, job, grant.fence
        job_id, name = plan.ids[job], plan.names[job]
        order = Order(mark, name, job_id, grant.attempt, carry(), settings.idempotency_key, ids, call)
        kind = self._kind(grant, handler, settings)
        where = self._places.get(plan.queues_of[job], ANYWHERE) if self._places else ANYWHERE
        return Flight(grant, kind, order, inputs, where, -settings.priority)

    def _call(
        self, grant: Grant, handler: ClusterHandler
    ) -> tuple[tuple[str, ...], tuple[int, ...] | bytes, Sequence[Remote]]:
        """What of the results of its children a job takes, and how: whole results are not even looked at here."""
        run, job = grant.run, grant.job
        binding = run.bindings[job]
        if type(binding) is tuple and not handler.parameters.injected and job not in run.state.cut:
            children, states, values = run.plan.inputs[job], run.state.state, run.values
            inputs = [values[child] for child in children]
            if all(states[child] == COMPLETED for child in children) and all(
                type(one) is Remote and not one._path for one in inputs
            ):
                positions = {child: position for position, child in enumerate(children)}
                ids = tuple([run.plan.ids[child] for child in children])
                return ids, tuple([positions[child] for child in binding]), inputs
        from flows._handlers import children_of

        args, kwargs, _ = distant_inputs(grant, handler)
        try:
            data, taken = written((tuple(args), kwargs, children_of(grant)))
        except Exception as error:
            raise DataError(
                f"the arguments cannot be sent to the cluster: {type(error).__name__}: {error}; pass plain data"
            ) from error
        return (), data, taken

    def _kind(self, grant: Grant, handler: ClusterHandler, settings: Settings) -> FlightKind:
        run, job = grant.run, grant.job
        queue = run.plan.queues_of[job]
        known = self._kinds.get((handler, queue, id(settings)))
        if known is None:
            kind = self._kind_of(handler, queue, replace(plain(settings), idempotency_key=None), grant)
            known = self._kinds[handler, queue, id(settings)] = kind, settings  # which keeps the id its own
        return known[0]

    def _kind_of(self, handler: ClusterHandler, queue: str, settings: Settings, grant: Grant) -> FlightKind:
        """The same for all jobs that differ in ids and data only, whether or not one object has their options."""
        run, name = grant.run, grant.run.plan.names[grant.job]
        alike = id(handler.fn), name, queue, settings, handler.place
        found = self._alike.get(alike)
        if found is None:
            brief = Brief(run.id, run.key, run.plan.name, "", name, queue, 0, settings, {})
            contexts = tuple(name for name, wanted in handler.parameters.injected.items() if wanted == "context")
            fn = None if handler.place is not None else handler.fn
            try:
                kind = cloudpickle.dumps(Kind(fn, handler.awaits, contexts, handler.place, brief))
            except Exception as error:
                raise DefinitionError(
                    f"task {handler.task.name!r} cannot be sent to the cluster: {type(error).__name__}: {error}; its "
                    "function travels with its jobs, and all that it refers to must be picklable"
                ) from error
            found = self._alike[alike] = FlightKind(kind)
        return found

    def _settle(self, flight: Flight, landed: Landed, started_at: float, now: float) -> Settle:
        grant, what = flight.grant, landed.what
        job = flight.order.job_id
        ended_at = max(started_at, now - landed.age)
        started_at = max(started_at, ended_at - landed.seconds)
        if what == _words.DONE:
            assert flight.task is not None
            assert flight.task.future is not None
            return Settle(grant, End.COMPLETED, Remote(flight.task.future, flight.place), started_at, ended_at)
        if what in (_words.RAISED, _words.TIMEOUT):
            return _judged(grant, cloudpickle.loads(landed.data), started_at, ended_at)
        if what in (_words.STOPPED, _cluster.BACK):
            cancelled = grant.run.state.cancelling or grant.stop == RUN_CANCELLED
            end = End.CANCELLED if cancelled else End.RELEASED
            return Settle(grant, end, None, started_at, ended_at)
        if what == _cluster.UNABLE:
            return FailedSettle(grant, End.FAILED, DataError(flight.text), started_at, ended_at)
        if what == _cluster.GONE:
            self._lose()
            return Settle(grant, End.RELEASED, None, started_at, ended_at)
        why = flight.text or (cloudpickle.loads(landed.data) if landed.data else "what it takes has been lost")
        return FailedSettle(grant, End.LOST, LeaseLostError(why, job=job), started_at, ended_at)


def _judged(grant: Grant, fault: Fault, started_at: float, ended_at: float) -> Settle:
    """What becomes of a job; where its worker has judged, that counts."""
    judge, verdict = judge_error, fault.verdict
    if verdict is not None and not grant.run.state.cancelling:

        def judge(grant: Grant, error: Exception, started_at: float, ended_at: float) -> Settle:
            return FailedSettle(grant, End(verdict[0]), error, started_at, ended_at, *verdict[1:])

    if fault.raised is not None:
        return settled(grant, fault.raised, started_at, ended_at, judge)
    timeout = grant.run.plan.settings[grant.job].timeout
    error = JobTimeoutError(f"timeout of {timeout:g} s passed", job=grant.run.plan.ids[grant.job])
    return judge(grant, error, started_at, ended_at)
