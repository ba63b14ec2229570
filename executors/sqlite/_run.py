"""OpenRun: one run within a step: the machine's columns over the file, and what is to be written at the step's end.

`opened` reads the run's row. Columns come from the file a chunk at a time, when the machine looks at them. What it
changes, what has happened and the results to be stored are noted here, until `written` writes them. What was submitted
(`Known`) never changes, and is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from executors._stored import Header, read
from executors.sqlite._columns import Columns
from executors.sqlite._database import Database, Queries
from executors.sqlite._keys import chunk_row, row_of
from executors.sqlite._layout import (
    Attempts,
    Block,
    Delays,
    Edges,
    Fetch,
    Gated,
    ItemOf,
    Layout,
)
from executors.sqlite._shapes import read_bodies, read_shape
from flows import _machine as machine
from flows._state import Commands, RunState

TAIL: Final = 1500
"""Characters of the journal that stand in the run's own row, before they get one of their own."""

EVERYTHING: Final = 1 << 60
"""A sweep within a transaction need not be cut into pieces: nobody sees the file between them."""

_encode: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
"""Made once: `json.dumps` would make one for each step."""

_ROW = (
    *("number", "id", "key", "name", "base", "size", "open", "turn", "kinds", "growing", "openings", "cancelling"),
    *("reason", "entries", "tail", "tail_from", "submitted_at", "deadline_at", "ended_at"),
)


class Known:
    """What is known of a run for good: it was submitted so."""

    __slots__ = ("facts", "header", "id", "key", "layout", "name", "number")

    def __init__(
        self,
        number: int,
        run_id: str,
        key: str | None,
        name: str,
        facts: Mapping[str, Any],
        layout: Layout,
        header: bytes,
    ) -> None:
        self.number, self.id, self.key, self.name = number, run_id, key, name
        self.facts = facts
        self.layout = layout
        self.header = Header(header)

    def id_of(self, job: int, row: Callable[[int], bytes]) -> str:
        """The id of a job.

        Args:
            row: Fetches what was submitted of a job of the flow itself.
        """
        label, layout = "", self.layout
        if job < layout.shape.size:
            return str(read(row(job))[0])
        block, base, index = layout.base(job)
        name = self.header.bodies[block.body].rows[job - base][0]
        while True:
            label = f"[{index}]{label}"
            if block.list_job < layout.shape.size:
                return f"{name}{label}"
            block, base, index = layout.base(block.list_job)


class OpenRun:
    """A run as the steps of this process see it.

    Attributes:
        known: What was submitted.
        state: The machine's columns.
        journal: What has happened in this step: (instant, kind, jobs).
        entries: How many steps have left something in the journal.
        tail, tail_from: The last of these entries, and the number of the first of them.
        results: Rows to write for jobs that have ended.
        growing: Lists that may be ready for further items.
        delays: Whether any job may be delayed.
        changed: Whether the run's own row is to be written.
    """

    __slots__ = (
        *("cancelling", "changed", "columns", "deadline_at", "delays", "ended_at", "entries", "growing", "journal"),
        *("known", "number", "openings", "reason", "results", "retire_at", "state", "submitted_at", "tail"),
        "tail_from",
    )  # fmt: skip

    def __init__(self, known: Known, row: Mapping[str, Any], columns: Columns) -> None:
        self.known = known
        self.number = known.number
        self.columns = columns
        self.openings: int = row["openings"]
        self.reason: str = row["reason"]
        self.entries: int = row["entries"]
        self.tail: str = row["tail"]
        self.tail_from: int = row["tail_from"]
        self.submitted_at: int = row["submitted_at"]
        self.deadline_at: int | None = row["deadline_at"]
        self.ended_at: int | None = row["ended_at"]
        self.retire_at: int | None = None
        self.growing: dict[int, None] = dict.fromkeys(json.loads(row["growing"])) if row["growing"] else {}
        self.journal: list[tuple[int, str, list[Any]]] = []
        self.results: list[tuple[Any, ...]] = []
        self.delays = True
        self.changed = False
        self.state = self._machine(row)

    def _machine(self, row: Mapping[str, Any]) -> RunState:
        columns, layout = self.columns, self.known.layout
        sparse: Any = columns.sparse
        grows = layout.listed
        edges: Any = Edges(layout, sparse["begun"], sparse["linked"])
        state = RunState(
            size=row["size"],
            state=columns.state,
            pending=columns.pending,
            ordinal=columns.ordinal,
            edges=edges if grows else layout.shape.edges,
            effects=edges if grows else layout.shape.codes,
            delays=Delays(layout),  # type: ignore[arg-type]
            limits=Attempts(layout),
            gated=Gated(layout, sparse["judged"]),  # type: ignore[arg-type]
        )
        if not layout.gated:
            state.gated = set()
        if not layout.delayed:
            state.delays = {}
        for name in ("dooms", "skips", "cancels", "conts", "cause", "cut", "made", "lost", "lists", "begun"):
            setattr(state, name, sparse[name])
        if grows:
            state.item_of = ItemOf(layout)  # type: ignore[assignment]
        state.open, state.turn, state.cancelling = row["open"], row["turn"], bool(row["cancelling"])
        return state

    def flatten(self) -> None:
        """Until `unflatten`, the machine has plain columns, if there are any: whoever changes them says where."""
        state, flat = self.state, self.columns.flat
        if flat is not None:
            state.state, state.pending, state.ordinal = flat.state, flat.pending, flat.ordinal

    def unflatten(self) -> None:
        """The machine has columns again that note where they are changed."""
        state, columns = self.state, self.columns
        state.state, state.pending, state.ordinal = columns.state, columns.pending, columns.ordinal

    def complete(self, jobs: list[int], out: Commands) -> None:
        """Settle active *jobs* as completed and sweep: `machine.complete`, by the shortest way to the columns."""
        state, columns = self.state, self.columns
        flat = columns.flat
        if flat is None or self.known.layout.listed or state.cause or state.cascade or state.later:
            machine.complete(state, jobs, EVERYTHING, out)
            return
        edges = state.edges
        touched = set(jobs)
        for job in jobs:
            touched.update(edges[job])
        columns.changing(touched)
        self.flatten()
        machine.complete(state, jobs, EVERYTHING, out)
        self.unflatten()

    def grant(self, jobs: Sequence[int], fence: int) -> list[int]:
        """Give waiting jobs to a worker, under fences from *fence* on; returns those that were still waiting."""
        state, columns = self.state, self.columns
        flat, fences = columns.flat, columns.fence
        if flat is None or self.known.layout.listed:
            granted = machine.grant(state, jobs)
        else:
            columns.changing(jobs)
            state.state, fences = flat.state, flat.fence
            granted = machine.grant(state, jobs)
            state.state = columns.state
        for number, job in enumerate(granted, fence):
            fences[job] = number
        return granted

    def jobs(self) -> list[int]:
        """All jobs that there are: rows of items that were not stamped out yet are none."""
        layout, state = self.known.layout, self.state
        jobs = list(range(layout.shape.size))
        if state.lists:
            row = layout.shape.size
            while row < state.size:
                block = layout.block_of(row)
                end = block.first + block.items * block.stride
                begun = state.begun.get(block.list_job, 0) - block.start
                jobs.extend(range(row, min(end, block.first + max(0, begun) * block.stride)))
                row = end
        return jobs

    def note(self, now: int, kind: str, jobs: list[Any]) -> None:
        """Something has happened to *jobs*: positions, or (job, attempt, detail)."""
        self.journal.append((now, kind, jobs))


def opened(database: Queries, known: Known, columns: Columns | None = None) -> OpenRun | None:
    """A run from the file, within a step; None if it is not there any more.

    Args:
        columns: Of one that has just been put there.
    """
    row = database.one("run_get", known.number)
    if row is None:
        return None
    number = known.number

    def fetch(chunk: int) -> tuple[bytes, str | None] | None:
        found: tuple[bytes, str | None] | None = database.one("chunk_get", chunk_row(number, chunk))
        return found

    fields = dict(zip(_ROW, row, strict=True))
    return OpenRun(known, fields, columns or Columns(fetch, fields["kinds"]))


def written(database: Database, run: OpenRun) -> None:
    """Write what the step has changed of a run."""
    number = run.number
    columns, state = run.columns, run.state
    if columns.dirty:
        rows = columns.flushed()
        database.do_all("chunk_put", [(chunk_row(number, chunk), dense, sparse) for chunk, dense, sparse in rows])
        run.changed = True
    if run.results:
        database.do_all("result_put", run.results)
        run.results = []
    if run.journal:
        entry = _encode(run.journal)
        run.tail = f"{run.tail},{entry}" if run.tail else entry
        run.entries += 1
        if len(run.tail) > TAIL:
            database.do("journal_add", row_of(number, run.tail_from), run.tail)
            run.tail, run.tail_from = "", run.entries
        run.journal = []
        run.changed = True
    if run.changed:
        growing = json.dumps(list(run.growing)) if run.growing else ""
        database.do(
            "run_set",
            *(state.size, state.open, state.turn, columns.kinds, growing, run.openings, int(state.cancelling)),
            *(run.reason, run.entries, run.tail, run.tail_from, number),
        )
        run.changed = False


def known_of(database: Queries, number: int) -> Known | None:
    """What was submitted as a run, within a step."""
    row = database.one("header_get", number)
    if row is None:
        return None
    run_id, key, name, header, facts, bodies = row
    facts = json.loads(facts)
    shape = read_shape(facts, lambda chunk: database.one("plan_shape", chunk_row(number, chunk))[0])
    layout = Layout(shape, read_bodies(bodies), fetch_of(database, number), facts)
    return Known(number, run_id, key, name, facts, layout, header)


def fetch_of(database: Queries, number: int) -> Fetch:
    """How the layout of a run gets what it does not know, within a step."""

    def block(row: int) -> Block:
        return block_of(database.one("block_at", number, row))

    def blocks(job: int) -> list[Block]:
        return [block_of(row) for row in database.all("block_all", number, job)]

    def lists(child: int) -> list[int]:
        return [row for (row,) in database.all("link_all", row_of(number, child))]

    def item(job: int, place: int) -> bytes:
        payload: bytes = database.one("item_get", row_of(number, job), place)[0]
        return payload

    def plan(chunk: int) -> str:
        text: str = database.one("plan_shape", chunk_row(number, chunk))[0]
        return text

    return Fetch(plan, block, blocks, lists, item)


def block_of(row: tuple[Any, ...]) -> Block:
    """A block as the file has it."""
    first, job, body, start, items, stride, links = row
    return Block(first, job, body, start, items, stride, json.loads(links))
