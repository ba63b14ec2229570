"""Flows with lists and conditions told from their definition: recursive evaluation, apart from planner and machine.

A *scope* is a flow, or the body of a list; its steps are tasks and lists, each of which may refer to steps before it,
in its own scope or in those around, and to the items of the lists that it stands in.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from hypothesis import strategies as st

import flows
from flows import Job
from tests.flows.naive_run import says

POLICIES = ("fail", "ignore", "remove", "skip")
FIRM = ("fail", "skip")
"""Policies under which whoever takes the result can count on it."""


class Ref(NamedTuple):
    """A use of another step, by name, or of the item of a list, as ``item:`` and the list's name."""

    name: str
    kind: str = "value"


@dataclass
class Step:
    """A task (no `body`) or a list."""

    name: str
    policy: str
    refs: list[Ref]
    conditions: list[str] = field(default_factory=list)
    body: list["Step"] = field(default_factory=list)
    items: str = ""
    limit: int | None = None

    @property
    def id(self) -> str:
        """A list goes by the id of what it stamps out."""
        return self.body[-1].id if self.body else self.name

    @property
    def takes_an_item(self) -> bool:
        return any(ref.kind == "value" and ref.name.startswith("item:") for ref in self.refs)

    def inner(self) -> list["Step"]:
        return [self, *(step for one in self.body for step in one.inner())]

    def outside(self) -> list[str]:
        """Names that the body uses and does not define, items of its own left out."""
        steps = [step for one in self.body for step in one.inner()]
        mine = {f"item:{self.name}", *(step.name for step in steps), *(f"item:{step.name}" for step in steps)}
        used = [name for step in steps for name in [*(ref.name for ref in step.refs), *step.conditions, step.items]]
        return [name for name in dict.fromkeys(used) if name and name not in mine]


@flows.task(name="listed")
def listed(values: list[Any]) -> None:
    """Its attempts end as the test says."""


@flows.task(name="lone")
def lone(value: Any) -> None:
    """As `listed`, of one item and nothing else."""


def build(steps: list[Step], around: Mapping[str, Job[Any]]) -> list[Job[Any]]:
    """The jobs of a scope, as a user would declare them."""
    env = dict(around)
    made = []
    for step in steps:
        if step.body:
            items: Any = env[step.items]

            def one(item: Any, step: Step = step) -> Job[Any]:
                return build(step.body, {**env, f"item:{step.name}": item})[-1]

            job: Job[Any] = flows.each(one, items, limit=step.limit).on_failure(step.policy)  # type: ignore[arg-type]
        else:
            values = [
                flows.optional(env[ref.name].out) if ref.kind == "optional" else env[ref.name]
                for ref in step.refs
                if ref.kind != "order"
            ]
            task = lone if len(values) == 1 and step.takes_an_item else listed
            job = task.using(id=step.name)(values[0] if task is lone else values).on_failure(step.policy)  # type: ignore[arg-type]
        job.after(*[env[ref.name] for ref in step.refs if ref.kind == "order"])
        for condition in step.conditions:
            flows.when(env[condition], job)
        env[step.name] = job
        made.append(job)
    return made


def flow_of(steps: list[Step]) -> flows.Flow[Any]:
    jobs = dict(zip([step.name for step in steps], build(steps, {}), strict=True))
    used = {name for step in steps for name in uses(step)}
    return flows.flow(lambda: tuple(job for name, job in jobs.items() if name not in used), name="listed")()


def uses(step: Step) -> list[str]:
    return [*(ref.name for ref in step.refs), *step.conditions, step.items, *step.outside()]


@dataclass
class Outcome:
    """How a job ended. `inputs` is what a task that ran received; `below`: whether it is, or follows, a given job."""

    state: str
    value: Any = None
    inputs: Any = None
    below: bool = False
    policy: str = "fail"


Fate = Callable[[str], tuple[str, Any]]
FAILED = "a Failed"


class Naive:
    """Evaluates a flow.

    Args:
        fate: How the handler of the job of an id ends, and with which value, if it is run.
        start: What follows this job is marked.
        kept: Values of jobs that have completed before, and are not looked at again.

    Attributes:
        seen: The outcome of each job by id.
    """

    def __init__(
        self, steps: list[Step], fate: Fate, start: str = "", kept: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        self.fate = fate
        self.kept = kept
        self.start = start
        self.seen: dict[str, Outcome] = {}
        self._scope(steps, {}, "", False)

    def _scope(self, steps: list[Step], around: Mapping[str, Outcome], suffix: str, below: bool) -> Outcome:
        env = dict(around)
        for step in steps:
            outcome = env[step.name] = self._step(step, env, suffix, below)
            outcome.policy = step.policy
            self.seen[step.id + suffix] = outcome
        return env[steps[-1].name]

    def _step(self, step: Step, env: Mapping[str, Outcome], suffix: str, below: bool) -> Outcome:
        job = step.id + suffix
        edges = [*step.refs, *(Ref(name) for name in step.conditions), *([Ref(step.items)] if step.body else [])]
        below = below or job == self.start or any(env[ref.name].below for ref in edges)
        shared = any(env[name].below for name in step.outside())
        told = [says(env[ref.name].state, env[ref.name].policy, ref.kind) for ref in edges]
        for end in ("failed", "skipped"):
            if end in told:
                return Outcome(end, below=below or shared)
        if not all(env[name].value for name in step.conditions):
            return Outcome("skipped", below=below or shared)
        if step.body:
            outcome = self._items(step, env, suffix, below)
            outcome.below = outcome.below or below or shared
            if job in self.kept:
                outcome.state, outcome.value = "completed", self.kept[job]
            return outcome
        end, value = self.fate(job)
        return Outcome(end, value if end == "completed" else None, self._inputs(step, env), below)

    def _items(self, step: Step, env: Mapping[str, Outcome], suffix: str, below: bool) -> Outcome:
        items = env[step.items].value
        if not isinstance(items, list | tuple):
            return Outcome("failed")
        ends, values, found = [], [], False
        for place, item in enumerate(items):
            around = {**env, f"item:{step.name}": Outcome("completed", item)}
            one = self._scope(step.body, around, f"{suffix}[{place}]", below)
            found = found or one.below
            ends.append(says(one.state, one.policy, "value"))
            if one.state == "completed" or one.policy != "remove":
                values.append(one.value if one.state == "completed" else FAILED)
        for end in ("failed", "skipped"):
            if end in ends:
                return Outcome(end, below=found)
        return Outcome("completed", values, below=found)

    @staticmethod
    def _inputs(step: Step, env: Mapping[str, Outcome]) -> list[Any]:
        taken = [(ref, env[ref.name]) for ref in step.refs if ref.kind != "order"]
        return [
            dep.value if dep.state == "completed" else FAILED
            for ref, dep in taken
            if dep.state == "completed" or ref.kind == "optional"
        ]


def scope(
    draw: random.Random, around: tuple[tuple[str, str], ...] = (), depth: int = 0, prefix: str = "t"
) -> list[Step]:
    """A random flow with lists up to three deep. *around*: names that may be used, with their policies."""
    steps: list[Step] = []
    for number in range(draw.randint(1, 3 if depth else 5)):
        name = f"{prefix}{number}"
        known = [*around, *((step.name, step.policy) for step in steps)]
        firm = [one for one, policy in known if policy in FIRM]
        step = Step(name, draw.choice(POLICIES), [])
        if firm and depth < 3 and draw.random() < 0.6:
            step.items = draw.choice(firm)
            step.limit = draw.choice([None, None, 1, 2])
            step.body = scope(draw, (*known, (f"item:{name}", "fail")), depth + 1, f"{name}_")
        for ref, _ in draw.sample(known, min(len(known), draw.randint(0, 2))):
            item = ref.startswith("item:")
            kinds = ("order",) if step.body else ("value", "optional", "order")
            if not (step.body and item):
                step.refs.append(Ref(ref, "value" if item else draw.choice(kinds)))
        if firm and draw.random() < 0.25:
            step.conditions = [draw.choice(firm)]
        steps.append(step)
    if depth:  # all that a body makes must be reached from its last job
        used = {name for step in steps for name in uses(step)}
        steps[-1].refs += [Ref(step.name, "order") for step in steps[:-1] if step.name not in used]
    return steps


def scopes() -> st.SearchStrategy[list[Step]]:
    """Random flows by the seed: drawing and shrinking each of their parts would take longer than running them."""
    return st.integers(0, 2**32).map(lambda seed: scope(random.Random(seed)))
