"""A run told from its definition: slow and plain, written from the words of the contract and not from the machine.

Each settle is taken whole, with all it brings about, before the next; a job's fate is judged afresh from all its edges.
"""

from collections.abc import Iterable
from typing import NamedTuple

from hypothesis import strategies as st

from flows import _state as state_words
from flows._state import RunState

POLICIES = ("fail", "ignore", "continue", "remove", "skip")
KINDS = ("value", "optional", "order")
ENDS = ("completed", "failed", "skipped", "cancelled")

# What an edge says to its dependent, by how the child ended: rows of policies, for value edges and for order-only ones.
# "go": run now; "done": nothing against it; the others are what the dependent becomes.
SAYS = {
    #                        fail         ignore   continue  remove   skip
    ("completed", "value"): ("done",      "done",  "done",   "done",  "done"),
    ("completed", "order"): ("done",      "done",  "done",   "done",  "done"),
    ("failed",    "value"): ("failed",    "done",  "go",     "done",  "skipped"),
    ("failed",    "order"): ("failed",    "done",  "go",     "done",  "skipped"),
    ("skipped",   "value"): ("skipped",   "done",  "go",     "done",  "skipped"),
    ("skipped",   "order"): ("done",      "done",  "go",     "done",  "done"),
    ("cancelled", "value"): ("cancelled", "done",  "go",     "done",  "cancelled"),
    ("cancelled", "order"): ("cancelled", "done",  "go",     "done",  "cancelled"),
}  # fmt: skip


def says(end: str, policy: str, kind: str) -> str:
    """What an edge of that kind says, whose child has that policy and ended so."""
    return "done" if kind == "optional" else SAYS[end, kind][POLICIES.index(policy)]


class Edge(NamedTuple):
    child: int
    dependent: int
    kind: str = "value"


class Dag(NamedTuple):
    """Jobs 0, 1, 2 ... with the policy of each; edges lead from lower to higher numbers."""

    policies: tuple[str, ...]
    edges: tuple[Edge, ...]

    @property
    def size(self) -> int:
        return len(self.policies)

    def into(self, job: int) -> list[Edge]:
        return [edge for edge in self.edges if edge.dependent == job]

    def out_of(self, job: int) -> list[Edge]:
        return [edge for edge in self.edges if edge.child == job]

    def as_planned(self) -> "Dag":
        """The same with its edges as the planner lays them: by dependent, then as declared, none that is implied."""
        kept = [edge for edge in self.edges if edge.kind != "order" or edge._replace(kind="value") not in self.edges]
        kept.sort(key=lambda edge: (edge.dependent, ("optional", "value", "order").index(edge.kind)))
        return self._replace(edges=tuple(kept))

    def says(self, edge: Edge, end: str) -> str:
        return says(end, self.policies[edge.child], edge.kind)


class NaiveRun:
    """The reference: `settle` and `cancel` are all that happens to it."""

    def __init__(self, dag: Dag) -> None:
        self.dag = dag
        self.states = ["waiting_children"] * dag.size
        self.swept: set[Edge] = set()
        self.inputs: dict[int, frozenset[int]] = {}
        for job in range(dag.size):
            self._judge(job)

    def settle(self, job: int, end: str) -> None:
        assert self.states[job] == "released"
        self.states[job] = end
        self._spread([job])

    def cancel(self, active: Iterable[int]) -> None:
        """All is cancelled that has not ended and does not run."""
        running = set(active)
        cancelled = [
            job
            for job, now in enumerate(self.states)
            if now == "waiting_children" or (now == "released" and job not in running)
        ]
        for job in cancelled:
            self.states[job] = "cancelled"
        self._spread(cancelled)

    def _spread(self, line: list[int]) -> None:
        while line:
            child = line.pop(0)
            for edge in self.dag.out_of(child):
                self.swept.add(edge)
                if self.states[edge.dependent] == "waiting_children":
                    self._judge(edge.dependent)
                    if self.states[edge.dependent] in ENDS:
                        line.append(edge.dependent)

    def _judge(self, job: int) -> None:
        edges = self.dag.into(job)
        told = [self.dag.says(edge, self.states[edge.child]) for edge in edges if edge in self.swept]
        waits = len(told) < len(edges)
        if "failed" in told:
            self.states[job] = "failed"
        elif "cancelled" in told:
            self.states[job] = "cancelled"
        elif waits and "go" not in told:
            return
        elif not waits and "skipped" in told:
            self.states[job] = "skipped"
        else:
            self.states[job] = "released"
            self.inputs[job] = frozenset(edge.child for edge in edges if edge in self.swept)


def columns(dag: Dag, *, limits: list[int] | None = None, delays: dict[int, float] | None = None) -> RunState:
    """The machine's columns for the same run."""
    effects: dict[int, list[int]] = {}
    for job, policy in enumerate(dag.policies):
        codes = [
            (state_words.IGNORE if edge.kind == "optional" else state_words.EFFECTS[policy])
            + (state_words.ORDER_ONLY if edge.kind == "order" else 0)
            for edge in dag.out_of(job)
        ]
        if any(codes):
            effects[job] = codes
    return RunState(
        size=dag.size,
        state=bytearray(dag.size),
        pending=[len(dag.into(job)) for job in range(dag.size)],
        ordinal=[0] * dag.size,
        edges=[[edge.dependent for edge in dag.out_of(job)] for job in range(dag.size)],
        effects=effects,
        delays=delays or {},
        limits=limits or [3] * dag.size,
    )


def names_of(run: RunState) -> list[str]:
    """The machine's states in the reference's words."""
    released = ("waiting", "delayed", "active")
    return ["released" if name in released else name for name in (state_words.STATE_NAMES[code] for code in run.state)]


@st.composite
def dags(draw: st.DrawFn, max_jobs: int = 9, policies: tuple[str, ...] = POLICIES) -> Dag:
    """Random graphs; every other one without anything but plain edges."""
    size = draw(st.integers(1, max_jobs))
    plain = draw(st.booleans())
    jobs, kinds = st.integers(0, size - 1), st.sampled_from(KINDS[:1] if plain else KINDS)
    drawn = draw(st.lists(st.tuples(jobs, jobs, kinds), unique=True, max_size=3 * size))
    edges = dict.fromkeys(Edge(min(a, b), max(a, b), kind) for a, b, kind in drawn if a != b)
    policy = st.sampled_from(policies[:1] if plain else policies)
    return Dag(tuple(draw(policy) for _ in range(size)), tuple(edges))
