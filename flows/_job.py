"""Job: one unit of a flow, placed there by calling a task or by a FlowProducer-like literal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeVar, cast

from flows._names import check_name, check_queue, shown
from flows._opts import Opts, Queue
from flows._reference import OptionalReference, Reference, describe
from flows.errors import DefinitionError

if TYPE_CHECKING:
    from flows._each import Spread
    from flows._opts import Policy
    from flows._task import Task

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

made_here: ContextVar[list[Job[Any]] | None] = ContextVar("flows_made_here", default=None)
"""Jobs made by the `@flow` function that is running, so that one which nothing depends on can be named."""


class Job(Generic[R_co]):
    """One unit of a flow. Children run before their parent; the same object under two parents is one shared job.

    Jobs compare by identity. A typed job comes from calling a task; the constructor writes FlowProducer-like literals.

    Args:
        name: The task's name; the handler is looked up by it when the job is claimed.
        queue: Where the job waits. Left out: the queue of the task of that name, else ``"default"``.
        data: Becomes the handler's keyword arguments.
        children: Jobs that run first; their results reach a parameter annotated `flows.Children`.
        opts: Options of this job; they outrank those of the task and the queue.
        id: Unique in the flow. Left out: the name, then ``name#2`` … in the order of the plan.

    Raises:
        DefinitionError: A name, the data or a child is not what it should be.
    """

    __slots__ = (
        *("__weakref__", "args", "children", "conditions", "id", "kwargs", "name", "odd", "opts", "predecessors"),
        *("queue", "spread", "task"),
    )  # fmt: skip

    name: str
    id: str | None
    queue: str | Queue | None
    opts: Opts | None
    task: Task[..., R_co] | None
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    children: tuple[Job[Any], ...]
    predecessors: tuple[Job[Any], ...]
    conditions: tuple[object, ...]
    spread: Spread | None
    odd: bool
    """Whether the job may need more than its `args`. One look for the planner, as each costs: see `__getattr__`."""

    def __init__(
        self: Job[Any],  # what a literal's handler will return is not known to type checkers
        name: str,
        *,
        queue: str | Queue | None = None,
        data: Mapping[str, Any] | None = None,
        children: Iterable[Job[Any]] = (),
        opts: Opts | None = None,
        id: str | None = None,
    ) -> None:
        self.name = check_name(name, "job name")
        self.id = None if id is None else check_name(id, "job id")
        self.queue = queue if queue is None or isinstance(queue, Queue) else check_queue(queue)
        if opts is not None and not isinstance(opts, Opts):
            raise DefinitionError(f"{self._spot()}: opts must be flows.Opts(...), not {shown(opts)}")
        self.opts = opts
        self.task = None
        self.args = ()
        self.kwargs = self._checked_data(data)
        self.children = self._checked_jobs(children, "children")
        self.predecessors = ()
        self.conditions = ()
        self.spread = None
        self.odd = bool(self.kwargs or self.children)
        _note(self)

    @property
    def out(self) -> R_co:
        """Stands for the future result: pass it, or a part of it, to other tasks."""
        return cast("R_co", Reference(self))

    def after(self, *jobs: Job[Any]) -> Self:
        """Add order-only edges: this job runs after *jobs* but takes no result of theirs.

        Changes and returns the job.
        """
        self.predecessors += self._checked_jobs(jobs, "after()")
        self.odd = True
        return self

    def on_failure(self, policy: Policy) -> Self:
        """Say what the final failure of this job does to the jobs that depend on it. Changes and returns the job."""
        changed = Opts(on_failure=policy)
        self.opts = changed if self.opts is None else self.opts.updated(changed)
        return self

    def _spot(self) -> str:
        return f"job {describe(self)!r}"

    def _checked_data(self, data: object) -> Mapping[str, Any]:
        if data is None:
            return {}
        if not isinstance(data, Mapping):
            raise DefinitionError(
                f"{self._spot()}: data must be a mapping of the handler's keyword arguments, not {shown(data)}"
            )
        for key in data:
            if not isinstance(key, str):
                raise DefinitionError(
                    f"{self._spot()}: data has the key {shown(key)}; keys name parameters, so they are text"
                )
        return dict(data)

    def _checked_jobs(self, jobs: object, what: str) -> tuple[Job[Any], ...]:
        if isinstance(jobs, Job | Reference | OptionalReference) or not isinstance(jobs, Sequence | Iterable):
            raise DefinitionError(f"{self._spot()}: {what} takes jobs in a list, not {shown(jobs)}")
        checked: list[Job[Any]] = []
        for job in jobs:  # one by one: what yields other things may do so without end
            if not isinstance(job, Job):
                raise DefinitionError(f"{self._spot()}: {what} takes jobs, not {shown(job)}")
            checked.append(job)
        return tuple(checked)

    def __repr__(self) -> str:
        given = "" if self.id is None else f", id={self.id!r}"
        return f"Job({self.name!r}{given})"

    if not TYPE_CHECKING:

        def __bool__(self) -> NoReturn:
            raise TypeError(
                f"the truth of {self!r} is not known while the flow is built; "
                "flows.when(job.out, other) decides at run time, or a small task that takes job.out"
            )

        def __getattr__(self, name: str) -> NoReturn:
            if name.startswith("__") or name in Job.__slots__:  # asked for by copying and pickling, of a job half made
                raise AttributeError(name)
            raise AttributeError(f"{self!r} has no attribute {name!r}; a part of its result is job.out.{name}")

        def __getitem__(self, key: object) -> NoReturn:
            raise TypeError(f"{self!r} has no items; a part of its result is job.out[{shown(key)}]")

        def __len__(self) -> NoReturn:
            raise TypeError(f"{self!r} has no length; did you mean job.out, passed to a task?")

        def __iter__(self) -> NoReturn:
            raise TypeError(
                f"{self!r} cannot be iterated while the flow is built; flows.each(task, job.out) fans out over it"
            )


_NO_KWARGS: Mapping[str, Any] = {}
"""Shared by all jobs without keyword arguments: one dict less a job to make, keep and look into."""


def call_job(task: Task[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Job[R]:
    """The job that a call of *task* places in a flow; the arguments are taken as checked."""
    job: Job[R] = object.__new__(Job)
    job.name = task.name
    job.id = task.id
    job.queue = task.target
    job.opts = task.job_opts
    job.task = task
    job.args = args
    job.kwargs = kwargs or _NO_KWARGS
    job.children = job.predecessors = job.conditions = ()
    job.odd = bool(kwargs)
    job.spread = None
    _note(job)
    return job


def _note(job: Job[Any]) -> None:
    made = made_here.get()
    if made is not None:
        made.append(job)
