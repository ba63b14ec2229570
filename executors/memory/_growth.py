"""Growth of a run: the items of a list become jobs in its columns, a chunk at a time, under the store's lock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from flows import _machine as machine
from flows._binding import Binding, Held
from flows._bodies import Body, stamped, stamped_conditions
from flows._handlers import Handler
from flows._state import COMPLETED, EFFECTS, FAIL, Commands

if TYPE_CHECKING:
    from executors.memory._run import MemoryRun
    from flows._plan import Plan

_EVERYWHERE: Final = range(2**62)
"""The space around a list of the flow itself: each job stands at its own index."""


class Mould:
    """A body made ready to be stamped out: its jobs' handlers, and their data validated."""

    __slots__ = ("bindings", "body", "handlers")

    def __init__(self, body: Body, handlers: Sequence[Handler], bindings: Sequence[Binding]) -> None:
        self.body = body
        self.handlers = handlers
        self.bindings = bindings


class Lists:
    """What a run knows of its lists.

    Attributes:
        moulds: How bodies are stamped out.
        items: The items of lists that have been looked at.
        stamps: For a list, the job of each item that has been stamped out.
        around: For a list inside another: what its body's links look into, and the index that its id ends with.
        growing: Lists that may be ready for further items.
    """

    __slots__ = ("around", "growing", "items", "moulds", "stamps")

    def __init__(self, moulds: Mapping[Body, Mould]) -> None:
        self.moulds = moulds
        self.items: dict[int, list[Any]] = {}
        self.stamps: dict[int, list[int]] = {}
        self.around: dict[int, tuple[Sequence[Any], str]] = {}
        self.growing: dict[int, None] = {}


def grow(run: MemoryRun, chunk: int, out: Commands) -> bool:
    """Stamp out items of the run's lists, about *chunk* jobs at most.

    Returns:
        Whether there is more to do: items that may be stamped out now, or edges to sweep.
    """
    growing = run.lists.growing
    growing.update(dict.fromkeys(out.grow))
    out.grow.clear()
    while growing and chunk > 0:
        job = next(iter(growing))
        body = run.plan.lists[job]
        items = machine.room(run.state, job, body.limit)
        taken = min(items, max(1, chunk // len(body.plan)))
        if taken == items:
            del growing[job]
        if taken > 0:
            chunk -= taken * len(body.plan)
            _stamp(run, job, taken, out)
    state = run.state
    return bool(growing or state.cascade or state.later or state.sweeping >= 0)


def gather(run: MemoryRun, ended: Iterable[int]) -> None:
    """Make the values of the lists among the jobs that have just ended."""
    states = run.state.state
    for job in ended:
        if job in run.state.lists and states[job] == COMPLETED:
            run.values[job] = [
                run.values[item] if states[item] == COMPLETED else run.failed(item)
                for item in run.lists.stamps.get(job, ())
                if states[item] == COMPLETED or run.plan.settings[item].on_failure != "remove"
            ]


def _stamp(run: MemoryRun, job: int, items: int, out: Commands) -> None:
    """Add the jobs of the next *items* items of a list to the columns, and have the machine take them up."""
    if not run.lists.stamps:
        run.become_own()
    plan, state = run.plan, run.state
    body = plan.lists[job]
    mould = run.lists.moulds[body]
    around, suffix = run.lists.around.get(job, (_EVERYWHERE, ""))
    first, begun = len(plan), state.begun[job]
    outer: list[tuple[int, int, int]] = []
    ids: list[str] = []
    for index in range(begun, begun + items):
        base = first + len(ids)
        item = Held(run.lists.items[job][index], ())
        space = [*range(base, base + len(body.plan)), item, *(around[link] for link in body.links)]
        label = f"{suffix}[{index}]"
        _add_columns(run, mould, base, space, label, job)
        outer.extend(_outer_edges(run, body, base, space))
        ids.extend([name + label for name in body.plan.ids])
        run.lists.stamps.setdefault(job, []).append(base + body.root)
    plan.ids.extend(ids)  # last: whoever reads the run sees whole jobs
    state.size = len(plan)
    state.begun[job] = begun + items
    machine.stamp(state, first, outer, out)


def _add_columns(run: MemoryRun, mould: Mould, base: int, space: Sequence[Any], label: str, job: int) -> None:
    plan, body = run.plan, mould.body
    part = body.plan
    size = len(part)
    plan.names.extend(part.names)
    plan.pending.extend(part.pending)
    plan.queues_of.extend(part.queues_of)
    plan.tasks.extend(part.tasks)
    plan.settings.extend(part.settings)
    plan.inputs.extend([_jobs(space, inputs) for inputs in part.inputs])
    bindings = [stamped(binding, space) for binding in mould.bindings]
    plan.bindings.extend(bindings)
    plan.dependents.extend([tuple([base + one for one in dependents]) for dependents in part.dependents])
    for one, codes in part.effects.items():
        plan.effects[base + one] = list(codes)
    _join(plan, base + body.root, job)
    for one, children in part.optional.items():
        plan.optional[base + one] = set(_jobs(space, tuple(children)))
    run.extend(size, part.pending, mould.handlers, bindings)
    for one, conditions in part.conditions.items():
        run.conditions[base + one] = stamped_conditions(conditions, space)
        run.state.gated.add(base + one)
    for one, inner in part.lists.items():
        plan.lists[base + one] = inner
        run.lists.around[base + one] = (space, label)


def _join(plan: Plan[Any], item: int, job: int) -> None:
    """Have the list wait for its item, whose policy acts on it."""
    effect = EFFECTS[plan.settings[item].on_failure]
    before = plan.dependents[item]
    if effect != FAIL or item in plan.effects:
        plan.effects.setdefault(item, [FAIL] * len(before)).append(effect)
    plan.dependents[item] = (*before, job)


def _outer_edges(run: MemoryRun, body: Body, base: int, space: Sequence[Any]) -> list[tuple[int, int, int]]:
    edges = []
    for link, dependent, effect in body.outer:
        child = space[link]
        if type(child) is int:
            edges.append((child, base + dependent, effect))
        else:  # the item of a list around this one, which is always there
            run.state.pending[base + dependent] -= 1
    return edges


def _jobs(space: Sequence[Any], children: Sequence[int]) -> tuple[int, ...]:
    return tuple([space[child] for child in children if type(space[child]) is int])
