"""The one job that runs here, while its run is in another process: as a grant and the brief of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from executors._leasing._wire import LOG, PROGRESS, Brief, dumps
from flows._children import Children
from flows._plan import Plan
from flows._state import ACTIVE, RunState
from flows._verbs import Grant
from flows.errors import DataError, Failed


class Link(Protocol):
    """The way to where the run is."""

    def send(self, tag: bytes, data: bytes = b"") -> None:
        """Say something there: `PROGRESS` or `LOG`, and its pickle."""
        ...

    def children(self) -> Children:
        """The results of the job's dependencies."""
        ...


class DistantGrant(Grant):
    """The grant of a job that runs here, while its run is in the parent."""

    __slots__ = ("distant",)

    def __init__(self, brief: Brief, link: Link, run: Callable[[Brief, Any], DistantRun] | None = None) -> None:
        super().__init__((run or DistantRun)(brief, link), 0, brief.attempt, 0)
        self.distant = link.children


class DistantRun:
    """The one job that runs here, as the brief of a run."""

    rated = False
    tracing = None
    deadline_at = None

    def __init__(self, brief: Brief, link: Link) -> None:
        self._link = link
        self.id, self.key, self.carrier = brief.run_id, brief.key, brief.carrier
        self.plan = plan = Plan[Any](brief.flow, (0,), several=False)
        plan.ids.append(brief.job_id)
        plan.names.append(brief.task)
        plan.queues_of.append(brief.queue)
        plan.settings.append(brief.settings)
        plan.tasks.append(None)
        plan.bindings.append(())
        plan.inputs.append(())
        plan.pending.append(0)
        plan.dependents.append(())
        self.state = RunState(
            size=1,
            state=bytearray((ACTIVE,)),
            pending=[0],
            ordinal=[0],
            edges=[()],
            effects={},
            delays={},
            limits=[brief.settings.attempts],
        )
        self.handlers: tuple[Any, ...] = ()
        self.bindings = plan.bindings
        self.values: tuple[Any, ...] = ()
        self.conditions: dict[int, tuple[Any, ...]] = {}
        self.since: dict[int, float] = {}

    def failed(self, job: int) -> Failed:
        raise LookupError(f"job {job} is in another process")

    def report(self, job: int, progress: object) -> None:
        self._link.send(PROGRESS, _packed_data(progress, "progress"))

    def record(self, job: int, line: str) -> None:
        self._link.send(LOG, dumps(line))

    def placed(self, job: int, worker: str) -> None:
        raise LookupError(f"job {job} is in another process")


def _packed_data(value: object, what: str) -> bytes:
    try:
        return dumps(value)
    except Exception as error:
        raise DataError(f"the {what}, of type {type(value).__name__}, cannot leave the process: {error}") from error
