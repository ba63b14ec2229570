"""What a simulation takes of ``executors.memory``: the store itself, with leases, and how a run is put into it.

With `_async_line`, the one place where `flows` imports `executors`; loaded when something is simulated. The store is
the subject of a simulation and not a service that it finds by URL: it must be this one, and its insides (what can be
claimed, what is due) must be seen, to wake simulated workers as a real store would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from executors._leasing._sharing import Sharing as Sharing
from executors._leasing._starts import starting as starting
from executors._store import StaleCallError as StaleCallError
from executors.memory import MemoryRun, MemoryStore
from executors.memory._executor import _bindings
from executors.memory._growth import Mould
from flows import _registry
from flows._bodies import Body, bodies_of
from flows._codec import jsonable
from flows._handlers import Handler
from flows._idempotency import data_of
from flows._plan import Plan
from flows._verbs import Grant, Want
from flows.errors import DefinitionError
from flows.executor import RunOptions
from flows.testing._payloads import Payloads, as_returned, read

if TYPE_CHECKING:
    from flows._shared_results import Owner, Shared
    from flows._task import Task


_ANYTHING: Final = Want(1)


class SimulatedRun(MemoryRun):
    """A run whose results are written down, and validated for whoever reads them."""

    def value_of(self, job: int) -> Any:
        task = self.handlers[job].task
        value = super().value_of(job)
        return read(value) if job in self.plan.lists else as_returned(task, value)


class SimulatedStore(MemoryStore):
    """A store with leases, which tells what its workers have to be woken for.

    Args:
        clock, lease_seconds, chunk: As for the store.
        repeats: Asked before a verb that a handler's attempt waits for: whether its first answer is lost, so that it
            is called twice.
    """

    def __init__(
        self, clock: Callable[[], float], epoch: float, lease_seconds: float, chunk: int, repeats: Callable[[str], bool]
    ) -> None:
        super().__init__(clock=clock, epoch=epoch, lease_seconds=lease_seconds, chunk=chunk)
        self._repeats = repeats

    @property
    def claimable(self) -> bool:
        """Whether there is anything for some worker to claim or to sweep."""
        suspects = self._claims.queues.has_suspects
        return self.unswept or bool(suspects) or self._claims.more(_ANYTHING, 0, self.clock())

    @property
    def unswept(self) -> bool:
        """Whether edges are left to sweep."""
        return bool(self._unswept)

    @property
    def due_at(self) -> float | None:
        """When the next delayed job becomes ready."""
        return min((run.delayed[0][0] for run in self._timed if run.delayed), default=None)

    @property
    def watched(self) -> bool:
        """Whether anybody holds a lease, so that somebody may have to be rescued."""
        return any(run.leases for run in self._claims.leased)

    @property
    def leased(self) -> Iterable[MemoryRun]:
        """The runs with leases."""
        return tuple(self._claims.leased)

    @property
    def deadline_at(self) -> float | None:
        """When the next run is to be cancelled."""
        return min((run.deadline_at for run in self._deadlines if run.deadline_at is not None), default=None)

    def reserve(self, key: str, digest: str, grant: Grant, instead_of: Owner | None = None) -> Shared:
        if self._repeats("reserve"):
            super().reserve(key, digest, grant, instead_of)
        return super().reserve(key, digest, grant, instead_of)

    def file(self, key: str, grant: Grant, value: Any) -> Any:
        if self._repeats("file"):
            super().file(key, grant, value)
        return super().file(key, grant, value)

    def began(self, grant: Grant) -> float:
        if self._repeats("began"):
            super().began(grant)
        return super().began(grant)


def make_run(
    plan: Plan[Any],
    options: RunOptions,
    store: SimulatedStore,
    handler_of: Callable[[str, Task[..., Any] | None], Handler | None],
) -> SimulatedRun:
    """A run of *plan*, checked as every store checks it, and accepted by *store*.

    Args:
        plan: What to run.
        options: What is asked of the run.
        store: Where to put it.
        handler_of: From task name and task to what runs such jobs; None where there is nothing.

    Raises:
        DefinitionError: A job has no handler, or data that does not fit or has no JSON form; all problems in one.
    """
    _check_data(plan, plan.ids)
    handlers = _handlers(plan, handler_of)
    moulds: dict[Body, Mould] = {}
    for body in bodies_of(plan) if plan.lists else ():
        _check_data(body.plan, body.names)
        inner = _handlers(body.plan, handler_of)
        moulds[body] = Mould(body, inner, _bindings(body.plan, inner))
    bindings = _bindings(plan, handlers)
    run = SimulatedRun(options, plan, handlers, bindings, store.clock, store.epoch, moulds)
    run.values = Payloads(run.values)
    store.put_run(run)
    return run


def retarget(run: SimulatedRun, change: Callable[[Handler], None]) -> None:
    """Have *change* called with every handler of the run, those of items to come included; each once."""
    every: Mapping[Handler, None] = dict.fromkeys(
        [*run.handlers, *(one for mould in run.lists.moulds.values() for one in mould.handlers)]
    )
    for handler in every:
        change(handler)


def _handlers(plan: Plan[Any], handler_of: Callable[[str, Task[..., Any] | None], Handler | None]) -> list[Handler]:
    found: list[Handler] = []
    problems: list[DefinitionError] = []
    for job, (name, queue, task) in enumerate(zip(plan.names, plan.queues_of, plan.tasks, strict=True)):
        handler = handler_of(name, task or _registry.find(name, queue))
        if handler is None:
            problems.append(_registry.unknown(name, queue, plan.ids[job]))
        else:
            found.append(handler)
    if problems:
        raise DefinitionError.of(problems)
    return found


def _check_data(plan: Plan[Any], names: Sequence[str]) -> None:
    """Refuse data that has no JSON form, as each store does that writes it down."""
    problems: list[DefinitionError] = []
    for job, job_id in enumerate(plan.ids):
        if type(plan.bindings[job]) is tuple:
            continue
        try:
            jsonable(data_of(plan, job, names), f"job {job_id!r}: data", depth=-1)
        except DefinitionError as error:
            problems.append(error)
    if problems:
        raise DefinitionError.of(problems)
