"""No verb reads more rows than it touches: by what SQLite plans for each statement, and by counting."""

from pathlib import Path

import pytest

import flows
from executors.sqlite import SqliteExecutor
from executors.sqlite._queries import query
from flows._verbs import End, Settle, Want
from flows.operating import operator
from tests.executors.sqlite_runs import Numbered, packed_of, store_at

QUERIES = sorted(path.stem for path in (Path(flows.__file__).parents[1] / "executors/sqlite/queries").glob("*.sql"))
SMALL = {"queue", "session", "suspect"}
"""Tables with a row a queue, a process, a job that has lost its worker: few, however many jobs there are."""
LISTINGS = {"claim_all", "claim_runs", "delayed_all", "dead_counts", "lane_counts"}
"""What asks how it stands everywhere looks at what is open everywhere: operators, and limits that are new."""


@flows.task
def rows_step(*below: object) -> int:
    return len(below)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> SqliteExecutor:
    executor = SqliteExecutor(f"sqlite:///{tmp_path_factory.mktemp('rows')}/runs.db?synchronous=normal")
    for number in range(20):
        flows.execute(rows_step(*[rows_step().out for _ in range(20)]), executor=executor, key=f"k{number}")
        flows.submit(rows_step(), executor=executor)
    return executor


def test_no_statement_goes_through_a_table(filled: SqliteExecutor) -> None:
    assert len(QUERIES) > 100
    for name in QUERIES:
        text = query(name)
        plan = filled.store.database._reads.execute(f"EXPLAIN QUERY PLAN {text}", [None] * text.count("?")).fetchall()
        scanned = {detail.split()[1] for *_, detail in plan if detail.startswith("SCAN")}
        scanned -= {"CONSTANT", "json_each", "(subquery-1)", *SMALL}
        assert not scanned or name in LISTINGS, f"{name}: {plan}"


def test_a_settle_in_a_large_run_touches_as_many_rows_as_in_a_small_one(tmp_path: Path) -> None:
    touched = []
    for size in (300, 20_000):
        store = store_at(tmp_path / f"{size}.db")
        put = store.put_run(packed_of(flows.plan(rows_step(*[rows_step().out for _ in range(size - 1)]))))
        assert put.number is not None
        run, seq, counts = Numbered(put.number), 0, []
        settles: list[Settle] = []
        for seq in range(1, 12):
            before = store.database.rows
            reply = store.exchange("loop", seq, settles, Want(4, run, None, True, 4), "w")  # type: ignore[arg-type]
            counts.append(store.database.rows - before)
            now = reply.now
            settles = [Settle(grant, End.COMPLETED, b"1", now, now) for grant in reply.grants]
        touched.append(counts[2:])
    assert touched[0] == touched[1]
    assert max(touched[0]) < 40


def test_a_listing_reads_a_page(filled: SqliteExecutor) -> None:
    assert len(operator(filled).runs(limit=5).runs) == 5
