"""No verb reads more rows than it touches: by what SQLite plans for each statement, and by counting."""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flows
from executors.sqlite import SqliteExecutor
from executors.sqlite._queries import query
from flows._verbs import End, Settle, Want
from flows.operating import operator
from tests.executors.sqlite_runs import Numbered, packed_of, store_at

QUERIES = sorted(path.stem for path in (Path(flows.__file__).parents[1] / "executors/sqlite/queries").glob("*.sql"))
SMALL = {"ahead", "queue", "session", "suspect"}
"""Tables with a row a queue, a process, a job that has lost its worker, a step to be carried over: few in any file."""
LISTINGS = {"claim_all", "delayed_all", "dead_counts", "lane_counts", "run_busy"}
"""What asks how it stands everywhere looks at what is open everywhere: operators, and limits that are new."""


@flows.task
def rows_step(*below: object) -> int:
    return len(below)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteExecutor]:
    executor = SqliteExecutor(f"sqlite:///{tmp_path_factory.mktemp('rows')}/runs.db?synchronous=normal")
    for number in range(20):
        flows.execute(rows_step(*[rows_step().out for _ in range(20)]), executor=executor, key=f"k{number}")
        flows.submit(rows_step(), executor=executor)
    yield executor
    executor.close()


def test_no_statement_goes_through_a_table(filled: SqliteExecutor) -> None:
    assert len(QUERIES) > 100
    for name in QUERIES:
        text = query(name)
        plan = filled.store.database._reads.execute(f"EXPLAIN QUERY PLAN {text}", [None] * text.count("?")).fetchall()
        scanned = {detail.split()[1] for *_, detail in plan if detail.startswith("SCAN")}
        scanned -= {"CONSTANT", "json_each", "(subquery-1)", *SMALL}
        assert not scanned or name in LISTINGS, f"{name}: {plan}"


class Worked:
    """A store whose statements are counted: rows, and the steps of SQLite's own machine."""

    def __init__(self, path: Path, size: int) -> None:
        self.store = store_at(path)
        put = self.store.put_run(packed_of(flows.plan(rows_step(*[rows_step().out for _ in range(size - 1)]))))
        assert put.number is not None
        self.run = Numbered(put.number)
        self.steps = 0
        self.counts: list[tuple[int, int]] = []

    def exchange(self, batch: int, times: int) -> None:
        """Settle and claim so many jobs, so many times."""
        database = self.store.database
        database._steps.set_progress_handler(self._step, 1)
        settles: list[Settle] = []
        for seq in range(1, times + 1):
            rows, steps = database.rows, self.steps
            want: Any = Want(batch, self.run, None, True, batch)  # type: ignore[arg-type]
            reply = self.store.exchange("loop", seq, settles, want, "w")
            self.counts.append((database.rows - rows, self.steps - steps))
            settles = [Settle(grant, End.COMPLETED, b"1", reply.now, reply.now) for grant in reply.grants]
        database._steps.set_progress_handler(None, 0)
        database.close()

    def _step(self) -> int:
        self.steps += 1
        return 0


def compare(path: Path, small: int, large: int, batch: int) -> None:
    found = []
    for size in (small, large):
        worked = Worked(path / f"{size}.db", size)
        worked.exchange(batch, 16)
        found.append(worked.counts[2:])
    (rows, steps), (rows_of_large, steps_of_large) = (zip(*counts, strict=True) for counts in found)
    assert rows == rows_of_large
    assert max(rows) < 40
    assert max(steps_of_large) <= 1.1 * max(steps), "SQLite looked at more than it had to"
    assert sum(steps_of_large) <= 1.1 * sum(steps)


def test_a_settle_in_a_large_run_touches_as_many_rows_as_in_a_small_one(tmp_path: Path) -> None:
    compare(tmp_path, 300, 3_000, 4)


@pytest.mark.slow
def test_a_settle_among_100_000_jobs_costs_what_it_costs_among_200(tmp_path: Path) -> None:
    compare(tmp_path, 200, 100_000, 4)  # with 200, too, the root is not in the chunk of its first children


def test_a_listing_reads_a_page(filled: SqliteExecutor) -> None:
    assert len(operator(filled).runs(limit=5).runs) == 5


def test_a_batch_is_one_commit_and_is_there_when_the_call_returns(tmp_path: Path) -> None:
    store = store_at(tmp_path / "runs.db")
    put = store.put_run(packed_of(flows.plan(rows_step(*[rows_step().out for _ in range(8)]))))
    assert put.number is not None
    run: Any = Numbered(put.number)
    grants = store.exchange("loop", 1, [], Want(8, run), "w").grants
    said: list[str] = []
    store.database._steps.set_trace_callback(said.append)
    for seq, batch in enumerate((grants[:7], grants[7:]), 2):
        said.clear()
        store.exchange(
            "loop", seq, [Settle(grant, End.COMPLETED, b"1", 1.0, 2.0) for grant in batch], Want(0, run), "w"
        )
        assert said.count("COMMIT") == 1
        assert len(store.database.read("result_all", 0, 1 << 60)) == (7 if seq == 2 else 8), (
            "another connection sees it"
        )
    store.database._steps.set_trace_callback(None)
    store.database.close()


@flows.task
def rows_until_filed(path: str) -> int:
    """How many results another connection sees, as soon as there are any."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for _ in range(3000):
            (filed,) = connection.execute("SELECT count(*) FROM result").fetchone()
            if filed:
                return int(filed)
            threading.Event().wait(0.01)
    return 0


def test_a_lone_settle_is_not_kept_back_for_company(tmp_path: Path) -> None:
    executor = SqliteExecutor(f"sqlite:///{tmp_path}/runs.db?concurrency=1&synchronous=normal")
    flow = rows_step(rows_step().out, rows_until_filed(f"{tmp_path}/runs.db").out)
    run = flows.execute(flow, executor=executor)
    assert run.jobs["rows_until_filed"].value == 1, "the other was there before this one had ended"
    executor.close()
