"""Growth of a run: the items of a list become jobs in its columns, a chunk at a time, under the store's lock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from flows import _machine as machine
from flows._binding import Binding, Held, Ready
from flows._bodies import Body, stamped, stamped_conditions
from flows._handlers import Handler
from flows._state import COMPLETED, EFFECTS, FAIL, Commands

if TYPE_CHECKING:
    from executors.memory._record import Record
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
    if run.state.sweeping >= 0:
        return True  # edges can only be added to jobs of which none is being swept
    while growing and chunk > 0:
        job = next(iter(growing))
        body = run.plan.lists[job]
        items = machine.room(run.state, job, body.limit)
        taken = min(items, max(1, chunk // len(body.plan)))
        if taken >= items:
            del growing[job]
        if taken > 0:
            chunk -= taken * len(body.plan)
            _stamp(run, job, taken, out)
    state = run.state
    return bool(growing or state.cascade or state.later or state.sweeping >= 0)


def gather(run: MemoryRun, ended: Iterable[int]) -> None:
    """Make the values of the lists among the jobs that have just ended."""
    for job in ended:
        if job in run.state.lists and run.state.state[job] == COMPLETED:
            run.values[job] = gathered(run, job)


def gathered(run: Record, job: int) -> list[Any]:
    """The value of a list that has completed: the results of its items in their order, by the items' policies."""
    states, values = run.state.state, run.values
    return [
        values[item] if states[item] == COMPLETED else run.failed(item)
        for item in run.lists.stamps.get(job, ())[: run.state.lists[job]]
        if states[item] == COMPLETED or run.plan.settings[item].on_failure != "remove"
    ]


def _stamp(run: MemoryRun, job: int, items: int, out: Commands) -> None:
    """Put the jobs of the next *items* items of a list into the columns, and have the machine take them up."""
    if not run.lists.stamps:
        run.become_own()
    plan, state = run.plan, run.state
    body = plan.lists[job]
    around, suffix = run.lists.around.get(job, (_EVERYWHERE, ""))
    stamps = run.lists.stamps.setdefault(job, [])
    begun, size, first = state.begun[job], len(body.plan), len(plan)
    rows: list[int] = []
    outer: list[tuple[int, int, int]] = []
    ids: list[str] = []
    names: list[str] = []
    known: dict[int, set[int]] = {}
    alike = _alike(run, body)
    if alike is not None and begun >= len(stamps):
        rows.extend(_stamp_alike(run, job, alike, begun, items))
        items, begun = 0, begun + items
    for index in range(begun, begun + items):
        reused = index < len(stamps)  # the list was expanded before: an item's jobs keep their places
        base = stamps[index] - body.root if reused else first + len(ids)
        item = Held(run.lists.items[job][index], ())
        space = [*range(base, base + size), item, *[around[link] for link in body.links]]
        label = f"{suffix}[{index}]"
        _put_columns(run, body, base, space, label, job)
        if body.outer:
            outer.extend(_outer_edges(run, body, base, space, known if reused else None))
        if reused:
            plan.gone.difference_update(range(base, base + size))
        else:
            stamps.append(base + body.root)
            state.item_of[base + body.root] = job
            ids.extend([name + label for name in body.plan.ids])
            names.extend(body.plan.names)
        rows.extend(range(base, base + size))
    plan.ids.extend(ids)
    plan.names.extend(names)  # last: whoever reads the run sees whole jobs
    state.size = len(plan)
    state.begun[job] = begun + items
    machine.stamp(state, rows, outer, out)


def _alike(run: MemoryRun, body: Body) -> int | None:
    """How often the one job of a body takes the item, where that is all it takes; else None."""
    part = body.plan
    if len(part) != 1 or body.links or part.lists or part.conditions:
        return None
    (binding,) = run.lists.moulds[body].bindings
    return len(binding) if type(binding) is tuple else None


def _stamp_alike(run: MemoryRun, job: int, times: int, begun: int, items: int) -> range:
    """As `_put_columns` for many items at once, whose bodies are one job each that takes the item and no more."""
    plan, state = run.plan, run.state
    body = plan.lists[job]
    part, first = body.plan, len(plan)
    rows = range(first, first + items)
    suffix = run.lists.around[job][1] if job in run.lists.around else ""
    plan.pending.extend(part.pending * items)
    plan.queues_of.extend(part.queues_of * items)
    plan.tasks.extend(part.tasks * items)
    plan.settings.extend(part.settings * items)
    plan.inputs.extend([()] * items)
    bindings = [Ready((item,) * times, {}, by_name=False) for item in run.lists.items[job][begun : begun + items]]
    plan.bindings.extend(bindings)
    run.bindings.extend(bindings)
    plan.dependents.extend([(job,)] * items)
    effect = EFFECTS[part.settings[0].on_failure]
    if effect != FAIL:
        plan.effects.update((row, [effect]) for row in rows)
    run.put(first, part.pending * items, [*run.lists.moulds[body].handlers] * items)
    run.lists.stamps[job].extend(rows)
    state.item_of.update(dict.fromkeys(rows, job))
    plan.ids.extend([f"{part.ids[0]}{suffix}[{index}]" for index in range(begun, begun + items)])
    plan.names.extend(part.names * items)
    return rows


def _put_columns(run: MemoryRun, body: Body, base: int, space: Sequence[Any], label: str, job: int) -> None:
    plan, part = run.plan, body.plan
    mould = run.lists.moulds[body]
    size = len(part)
    rows = slice(base, base + size)
    plan.pending[rows] = part.pending
    plan.queues_of[rows] = part.queues_of
    plan.tasks[rows] = part.tasks
    plan.settings[rows] = part.settings
    plan.inputs[rows] = [_jobs(space, inputs) for inputs in part.inputs]
    plan.bindings[rows] = run.bindings[rows] = [stamped(binding, space) for binding in mould.bindings]
    plan.dependents[rows] = [tuple([base + one for one in dependents]) for dependents in part.dependents]
    for one in range(size) if base < len(run.values) else ():
        plan.effects.pop(base + one, None)
    for one, codes in part.effects.items():
        plan.effects[base + one] = list(codes)
    _join(plan, base + body.root, job, EFFECTS[part.settings[body.root].on_failure])
    for one, children in part.optional.items():
        plan.optional[base + one] = set(_jobs(space, tuple(children)))
    run.put(base, part.pending, mould.handlers)
    for one, conditions in part.conditions.items():
        run.conditions[base + one] = stamped_conditions(conditions, space)
        run.state.gated.add(base + one)
    for one, inner in part.lists.items():
        plan.lists[base + one] = inner
        run.lists.around[base + one] = (space, label)
        run.state.lists.pop(base + one, None)


def _join(plan: Plan[Any], child: int, dependent: int, effect: int) -> None:
    """Add an edge."""
    before = plan.dependents[child]
    if effect != FAIL or child in plan.effects:
        plan.effects.setdefault(child, [FAIL] * len(before)).append(effect)
    if type(before) is list:
        before.append(dependent)
    else:
        plan.dependents[child] = [*before, dependent] if before else (dependent,)


def _outer_edges(
    run: MemoryRun, body: Body, base: int, space: Sequence[Any], known: dict[int, set[int]] | None
) -> list[tuple[int, int, int]]:
    """The edges that lead into the jobs of an item; their children learn of them, too.

    Args:
        known: For jobs that are reused: dependents of children that have been looked at. A child that was not itself
            stamped out anew has the edge already.
    """
    edges = []
    for link, dependent, effect in body.outer:
        child = space[link]
        if type(child) is not int:  # the item of a list around this one, which is always there
            run.state.pending[base + dependent] -= 1
            continue
        edges.append((child, base + dependent, effect))
        if known is not None:
            before = known.get(child)
            if before is None:
                before = known[child] = set(run.plan.dependents[child])
            if base + dependent in before:
                continue
        _join(run.plan, child, base + dependent, effect)
    return edges


def _jobs(space: Sequence[Any], children: Sequence[int]) -> tuple[int, ...]:
    return tuple([space[child] for child in children if type(space[child]) is int])
