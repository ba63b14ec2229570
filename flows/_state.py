"""The columns of a run, and the words for what stands in them: job states, edge effects, commands.

`flows._machine` is the only one that changes them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

WAITING_CHILDREN, WAITING, DELAYED, ACTIVE, COMPLETED, FAILED, SKIPPED, CANCELLED = range(8)

STATE_NAMES: Final = ("waiting_children", "waiting", "delayed", "active", "completed", "failed", "skipped", "cancelled")

FAIL, IGNORE, REMOVE, CONTINUE, SKIP = range(5)
"""Edge effects: what the end of the child does to this dependent when it is not a completion."""

ORDER_ONLY = 8
"""Added to an effect: the dependent takes no result through this edge."""

SHARED = 16
"""Added to an effect: the dependent is a list that only waits for the child because its body takes results of it."""

KIND = 7
"""Masks an effect code: which of the five it is."""

EFFECTS: Final = {"fail": FAIL, "ignore": IGNORE, "remove": REMOVE, "continue": CONTINUE, "skip": SKIP}

CONTROL_QUEUE: Final = "flows:control"
"""Where jobs wait that are the library's own work: every worker serves it, and no user's queue can bear the name."""

SWEEP_LIMIT: Final = 500
"""Edges a call applies at most, so that no call is long however many dependents a job has."""

UNHANDLED_SECONDS: Final = 86_400.0
"""How long a job goes round among workers that have no handler for it before it fails."""

LOST_LIMIT: Final = 3
"""How often a job may lose its worker before it fails: a handler that kills its process must not go round for ever."""


class Column(Protocol):
    """One number a job: a list in memory, rows read when needed elsewhere."""

    def __iter__(self) -> Iterator[int]: ...
    def __getitem__(self, job: int, /) -> int: ...
    def __setitem__(self, job: int, value: int, /) -> None: ...


class Limits(Protocol):
    """Attempts allowed, by job."""

    def __getitem__(self, job: int, /) -> int: ...


class Edges(Protocol):
    """The dependents of each job, one entry an edge."""

    def __getitem__(self, job: int, /) -> Sequence[int]: ...


class Effects(Protocol):
    """The effect codes of a job's edges, beside its dependents; None when all are plain ``fail`` edges."""

    def get(self, job: int, /) -> Sequence[int] | None: ...


class RunState:
    """The columns of one run. Any object with ``[]`` will do for a column; counters that are mostly zero are sparse.

    Attributes:
        state: Job states.
        pending: In-edges whose child is not terminal or not yet swept.
        dooms, skips, cancels, conts: Swept edges that fail, skip, cancel or release the job; absent means 0.
        cause: The child whose end doomed, skipped or cancelled the job.
        ordinal: The turn at which a job's edges were taken up; 0 before.
        cut: The turn at which a job was released before all its children had ended: only children with an ordinal up
            to it are its inputs, however often it is tried.
        made: Counted attempts that ended without settling the job.
        lost: How often the job lost its worker.
        delays: Seconds between release and readiness, for jobs that have any.
        limits: Attempts allowed.
        open: Jobs that are not terminal.
        cancelling: Whether the run was cancelled: nothing is released any more.
        gated: Jobs whose condition is still to be judged when they are released.
        lists: Lists whose items are known, and how many of them there are.
        begun: How many items of a list have been stamped out.
        item_of: The list that waits for a job as for one of its items.
    """

    __slots__ = (
        *("size", "open", "turn", "cancelling"),
        *("state", "pending", "dooms", "skips", "cancels", "conts", "cause"),
        *("ordinal", "cut", "made", "lost", "delays", "limits", "edges", "effects"),
        *("cascade", "later", "sweeping", "position", "gated", "lists", "begun", "item_of"),
    )  # fmt: skip

    def __init__(
        self,
        size: int,
        state: Column,
        pending: Column,
        ordinal: Column,
        edges: Edges,
        effects: Effects,
        delays: Mapping[int, float],
        limits: Limits,
        gated: set[int] | None = None,
    ) -> None:
        self.size = self.open = size
        self.state = state
        self.pending = pending
        self.ordinal = ordinal
        self.edges = edges
        self.effects = effects
        self.delays = delays
        self.limits = limits
        self.dooms: dict[int, int] = {}
        self.skips: dict[int, int] = {}
        self.cancels: dict[int, int] = {}
        self.conts: dict[int, int] = {}
        self.cause: dict[int, int] = {}
        self.cut: dict[int, int] = {}
        self.made: dict[int, int] = {}
        self.lost: dict[int, int] = {}
        self.cascade: deque[int] = deque()
        self.later: deque[int] = deque()
        self.sweeping = -1
        self.position = 0
        self.gated = set() if gated is None else gated
        self.lists: dict[int, int] = {}
        self.begun: dict[int, int] = {}
        self.item_of: dict[int, int] = {}
        self.turn = 0
        self.cancelling = False


class Commands:
    """What the machine asks its store to do, in the order it was decided within each list.

    Attributes:
        ready: Jobs to put in their queues.
        delayed: Jobs to put in their queues after the seconds beside them.
        ended: Jobs that became terminal.
        interrupt: Active jobs whose handlers should be told to stop.
        grow: Lists that may be ready for further items.
    """

    __slots__ = ("delayed", "ended", "grow", "interrupt", "ready")

    def __init__(self) -> None:
        self.ready: list[int] = []
        self.delayed: list[tuple[int, float]] = []
        self.ended: list[int] = []
        self.interrupt: list[int] = []
        self.grow: list[int] = []


class Retry(NamedTuple):
    """An attempt that ended and may be followed by another."""

    after: float
    counted: bool = True
