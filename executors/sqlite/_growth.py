"""Growth of a run: the items of a list become jobs in its columns, a number of them in a step.

When the items of a list become known, rows are reserved for all of them. An item is *stamped out* when its jobs are
put into the columns: at once, or as others of the list end, where it has a limit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from executors._stored import Items
from executors.sqlite._database import Database
from executors.sqlite._keys import row_of
from executors.sqlite._layout import Block
from executors.sqlite._run import OpenRun
from flows import _machine as machine
from flows import _reopening
from flows._state import Commands

Renew = Callable[[OpenRun, int], None]
"""Files what became of a job before it is done again."""


def expand(database: Database, run: OpenRun, job: int, items: Items, out: Commands) -> None:
    """The items of the active list *job* are known: rows are reserved for them."""
    layout, number, state = run.known.layout, run.number, run.state
    body = layout.body(job)
    count, stride = len(items.payloads), body.shape.size
    before = sum(block.items for block in layout.blocks_of(job))
    if count > before:
        place = layout.of(job)
        block = Block(state.size, job, place[0].body[place[1]], before, count - before, stride, list(items.links))
        links = json.dumps(block.links)
        database.do("block_add", number, block.first, job, block.body, before, block.items, stride, links)
        layout.know(block)
        state.size += block.items * stride
    database.do_all("item_put", [(row_of(number, job), place, one) for place, one in enumerate(items.payloads)])
    linked = run.columns.sparse["linked"]
    for child in {items.links[edge.link - stride - 1] for edge in body.outer}:
        if child >= 0:
            database.do("link_add", row_of(number, child), job)
            linked[child] = 1
    machine.expand(state, job, count, out)


def grow(run: OpenRun, limit: int, renew: Renew, out: Commands) -> int:
    """Stamp out items of the run's lists, about *limit* jobs at most; no edges may be left to sweep.

    Returns:
        How many jobs were stamped out.
    """
    growing = run.growing
    growing.update(dict.fromkeys(out.grow))
    out.grow.clear()
    stamped = 0
    while growing and stamped < limit:
        job = next(iter(growing))
        body = run.known.layout.body(job)
        items = machine.room(run.state, job, body.limit)
        taken = min(items, max(1, (limit - stamped) // body.shape.size))
        if taken >= items:
            del growing[job]
        if taken > 0:
            stamped += taken * body.shape.size
            _stamp(run, job, taken, renew, out)
    return stamped


def _stamp(run: OpenRun, job: int, items: int, renew: Renew, out: Commands) -> None:
    """Put the jobs of the next *items* items of a list into the columns, and have the machine take them up."""
    layout, state, columns = run.known.layout, run.state, run.columns
    body = layout.body(job)
    begun, stride = state.begun[job], body.shape.size
    gone = columns.sparse["gone"]
    rows: list[int] = []
    outer: list[tuple[int, int, int]] = []
    for block in layout.blocks_of(job):
        for index in range(max(begun, block.start), min(begun + items, block.start + block.items)):
            base = layout.row_of_item(block, index)
            for row in range(base, base + stride):
                if columns.fence[row] or columns.state[row] or row in gone:  # the item was stamped out before
                    renew(run, row)
                    _reopening.wipe(state, row)
                    for name in ("gone", "judged"):
                        columns.sparse[name].discard(row)
                    columns.state[row] = columns.ordinal[row] = columns.fence[row] = 0
                columns.pending[row] = body.shape.pending[row - base]
            outer.extend(_outer(run, body.outer, block, base))
            rows.extend(range(base, base + stride))
    state.begun[job] = begun + items
    machine.stamp(state, rows, outer, out)


def _outer(run: OpenRun, edges: Sequence[tuple[int, int, int]], block: Block, base: int) -> list[tuple[int, int, int]]:
    """The edges that lead into the jobs of an item."""
    found = []
    for link, dependent, effect in edges:
        child = block.links[link - block.stride - 1]
        if child < 0:  # the item of a list around this one, which is always there
            run.columns.pending[base + dependent] -= 1
        else:
            found.append((child, base + dependent, effect))
    return found
