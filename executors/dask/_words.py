"""What this process and the workers of the cluster say to each other about attempts."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from executors._leasing._wire import Brief, Place, Raised
from flows._opts import Opts

BEGUN: Final = "begun"
PROGRESS: Final = "progress"
LOG: Final = "log"
UNDER_WAY: Final = (BEGUN, PROGRESS, LOG)
"""What is reported of attempts that go on; all else is an end."""
DONE: Final = "done"
"""The handler has returned; its result is that of the task, and stays where it is."""
RAISED: Final = "raised"
"""The handler has raised what a `Fault` says."""
TIMEOUT: Final = "timeout"
"""Its time was over; a `Fault`, too."""
STOPPED: Final = "stopped"
"""The handler was told to stop, and did."""
LOST: Final = "lost"
"""The process of the handler is gone; the text says how."""
UNRUN: Final = "unrun"
"""Something that the attempt would have taken is not there."""


Mark = tuple[str, int, int]
"""One attempt: the id of its run, its job, its fence."""


class Named(NamedTuple):
    """Stands for a function that only the workers have: that of the task which is registered there.

    Attributes:
        name: The task's.
        queue: The job's.
        opts: The job's own options.
    """

    name: str
    queue: str
    opts: Opts | None

    def __call__(self, **data: Any) -> Any:
        """For the looks of it."""
        raise TypeError(f"the function of task {self.name!r} is not here")


class Kind(NamedTuple):
    """What the attempts of one task in one run have in common.

    Attributes:
        fn: The function; or a `Named`, and then all that follows of it is the worker's to say.
        contexts: The parameters that take the context of the job.
        place: Where a process of its own imports the handler from, if it is to run in one.
        brief: What a handler can ask of its job, but for what is the job's alone.
    """

    fn: Any
    awaits: bool
    contexts: tuple[str, ...]
    place: Place | None
    brief: Brief


class Order(NamedTuple):
    """One attempt to be made.

    Attributes:
        idempotency_key: The one that the job was given, if any.
        ids: The jobs whose results the task receives, where `call` does not say.
        call: Which results are the arguments; or a pickle of arguments, keyword arguments and children.
    """

    mark: Mark
    task: str
    job_id: str
    attempt: int
    carrier: dict[str, str]
    idempotency_key: str | None
    ids: tuple[str, ...]
    call: tuple[int, ...] | bytes


Slot = tuple[int, int | None]
"""Where an attempt finds a result that it takes: in which of those that came with the task, and where in it."""


class Batch(NamedTuple):
    """The attempts that one task of the cluster makes, one after the other.

    Attributes:
        topic: Where reports go.
        version: That of this library, where the orders were written.
        kinds: Pickles of `Kind`.
        orders: Each with its kind, by index, and the results that it takes.
    """

    topic: str
    version: str
    kinds: tuple[bytes, ...]
    orders: list[tuple[int, Order, tuple[Slot, ...]]]


class Report(NamedTuple):
    """What a worker says of an attempt.

    Attributes:
        data: A pickle, or nothing; of what is done, anything says that the result is large.
        seconds: How long the handler ran.
        age: Seconds between what is reported and the report.
    """

    mark: Mark
    what: str
    data: bytes
    seconds: float
    age: float


class Fault(NamedTuple):
    """What went wrong in an attempt, as it travels.

    Attributes:
        raised: What the handler has raised; None where its time was over.
        verdict: What becomes of the job, where its worker judges: how the attempt ends (an `End`), the seconds until
            the next one, and whether it counts.
    """

    raised: Raised | None
    verdict: tuple[int, float, bool] | None = None


class Void:
    """The result of a task whose attempt did not complete."""

    __slots__ = ()


class StoppedError(Exception):
    """The handler was told to stop, and did."""


class ChildError(Exception):
    """What was raised in a process of a handler's own, as it travels."""

    def __init__(self, raised: bytes) -> None:
        self.raised = raised
