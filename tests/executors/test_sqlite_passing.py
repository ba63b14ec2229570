"""A link of a chain is passed on by a commit of one row; whoever comes next finds all of it in its place."""

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flows
from executors.sqlite import SqliteExecutor, _file, _passing
from executors.sqlite._claims import Held
from executors.sqlite._notes import Sink
from executors.sqlite._store import SqliteStore
from flows._state import ACTIVE, COMPLETED, STATE_NAMES, WAITING_CHILDREN
from flows._verbs import End, Settle, Want
from flows.errors import UnavailableError
from tests.executors.sqlite_runs import Numbered, packed_of, store_at


@flows.task
def passed_link(value: int = 0) -> int:
    return value + 1


@flows.task
def passed_two(one: int, two: int) -> int:
    return one + two


def chained(links: int) -> flows.Job[int]:
    link = passed_link()
    for _ in range(links - 1):
        link = passed_link(link.out)
    return link


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = store_at(tmp_path / "runs.db")
    yield made
    made.database.close()


def begun(store: SqliteStore, flow: Any) -> tuple[Numbered, list[Held]]:
    """A run in which all that can be is claimed."""
    number = store.put_run(packed_of(flows.plan(flow))).number
    assert number is not None
    run: Any = Numbered(number)
    return run, store.exchange(f"loop{number}", 1, [], Want(9, run), "w").grants  # type: ignore[return-value]


def done(grant: Any, value: bytes = b"1") -> Settle:
    return Settle(grant, End.COMPLETED, value, 1.0, 2.0)


def passed(store: SqliteStore, grant: Any) -> Held:
    following: Any = store.pass_on(done(grant), "w")
    assert following is not None
    return following  # type: ignore[no-any-return]


def ahead(store: SqliteStore) -> int:
    return len(store.database.read("ahead_all"))


def states(store: SqliteStore, run: Numbered) -> list[str]:
    """How the jobs stand for whoever takes a step."""
    with store.transaction():
        one = store._run(run.number)
        assert one is not None
        return [STATE_NAMES[one.state.state[job]] for job in range(one.state.size)]


def test_a_link_is_one_row_until_somebody_takes_another_step(store: SqliteStore) -> None:
    run, (grant,) = begun(store, chained(4))
    second = passed(store, grant)
    third = passed(store, second)
    assert (second.job, third.job) == (1, 2)
    assert grant.fence < second.fence < third.fence
    assert ahead(store) == 2
    assert states(store, run) == ["completed", "completed", "active", "waiting_children"]
    assert ahead(store) == 0
    call: Any = third.run.bindings[2]
    assert call.args == [1]
    assert [row[2] for row in store.database.read("claim_of_session", store.session)] == [third.fence]
    reply = store.exchange("loop", 1, [done(third)], Want(1, run), "w")  # type: ignore[arg-type]
    assert [grant.job for grant in reply.grants] == [3]
    assert not reply.refused


def test_another_process_goes_on_from_where_the_rows_say(store: SqliteStore, tmp_path: Path) -> None:
    run, (grant,) = begun(store, chained(4))
    third = passed(store, passed(store, grant))
    other = store_at(tmp_path / "runs.db")
    assert states(other, run) == ["completed", "completed", "active", "waiting_children"]
    assert ahead(store) == 0
    assert [row[2] for row in other.database.read("claim_of_session", store.session)] == [third.fence]
    assert other.pass_on(done(third), "w") is None, "it is not theirs to settle without having seen it"
    assert store.pass_on(done(third), "w") is None, "another has written since"
    reply = store.exchange("loop", 1, [done(third)], Want(1, run), "w")  # type: ignore[arg-type]
    assert (reply.grants[0].job, reply.refused) == (3, [])
    assert states(other, run) == ["completed"] * 3 + ["active"]
    other.database.close()


def test_what_is_read_has_all_that_was_passed_on(tmp_path: Path) -> None:
    executor, another = (SqliteExecutor(f"sqlite:///{tmp_path}/runs.db?synchronous=normal") for _ in range(2))
    store = executor.store
    for reader in (executor._home().reader, another._home().reader):
        _, (grant,) = begun(store, chained(3))
        run_id = passed(store, grant).run.id
        assert reader.payloads(run_id, (0,)) == [b"1"]
        assert [facts.state for facts in reader.jobs(run_id, None)] == [COMPLETED, ACTIVE, WAITING_CHILDREN]
        assert [event.kind for event in reader.events(run_id, 0)[0]][-3:] == ["started", "completed", "started"]
    executor.close()
    another.close()


@pytest.mark.parametrize("what", ["a late result", "a large result", "a failure", "two followers", "a limit", "a note"])
def test_more_than_that_is_left_to_an_exchange(store: SqliteStore, what: str) -> None:
    first = passed_link()
    two = passed_two(passed_link(first.out).out, passed_link(first.out).out)
    run, (grant,) = begun(store, two if what == "two followers" else chained(3))
    settle = done(grant, b"1" * 3000 if what == "a large result" else b"1")
    if what == "a late result":
        grant.fence -= 1
    elif what == "a failure":
        settle.end = End.SKIPPED
    elif what == "a limit":
        store.publish({"elsewhere": (1, None)})
    elif what == "a note":
        store._notes.append((Sink(store, grant), "log", "said"))
    before = states(store, run)
    assert store.pass_on(settle, "w") is None
    assert ahead(store) == 0
    assert states(store, run) == before


def test_so_many_steps_are_kept_back_at_most(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_passing, "AHEAD", 2)
    _, (grant,) = begun(store, chained(5))
    third = passed(store, passed(store, grant))
    assert store.pass_on(done(third), "w") is None


def test_what_cannot_be_written_is_not_passed_on(store: SqliteStore, tmp_path: Path) -> None:
    run, (grant,) = begun(store, chained(3))
    store.database._steps.execute("PRAGMA busy_timeout = 0")
    other = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert store.pass_on(done(grant), "w") is None
    with pytest.raises(UnavailableError):
        store.exchange("loop", 1, [done(grant)], Want(1, run), "w")  # type: ignore[arg-type]
    other.execute("ROLLBACK")
    other.close()
    assert states(store, run) == ["active", "waiting_children", "waiting_children"]
    (following,) = store.exchange("loop", 1, [done(grant)], Want(1, run), "w").grants  # type: ignore[arg-type]
    assert passed(store, following).job == 2


def test_a_chain_is_passed_on_from_one_end_to_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = SqliteExecutor(f"sqlite:///{tmp_path}/runs.db?synchronous=normal")
    exchanges = 0
    exchange = SqliteStore.exchange

    def counted(*given: Any) -> Any:
        nonlocal exchanges
        exchanges += 1
        return exchange(*given)

    monkeypatch.setattr(SqliteStore, "exchange", counted)
    monkeypatch.setattr("executors._leasing._crew.COSTLY_SECONDS", 60.0)
    run = flows.execute(chained(150), executor=executor)
    assert run.value == 150
    assert exchanges <= 10
    jobs = [run.jobs[job] for job in list(run.jobs)[:150]]
    assert all(job.state == "completed" and len(job.attempts) == 1 for job in jobs)
    kinds = [event.kind for event in run.events()]
    assert (kinds.count("started"), kinds.count("completed")) == (150, 150)
    executor.close()


def test_files_of_the_first_version_are_migrated(tmp_path: Path) -> None:
    executor = SqliteExecutor(f"sqlite:///{tmp_path}/runs.db?synchronous=normal")
    flows.execute(chained(3), executor=executor, key="old")
    executor.close()
    connection = sqlite3.connect(tmp_path / "runs.db")
    connection.execute("DROP TABLE ahead")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    shutil.copy(tmp_path / "runs.db", tmp_path / "old.db")
    executor = SqliteExecutor(f"sqlite:///{tmp_path}/old.db?synchronous=normal")
    assert flows.get(key="old", executor=executor).value == 3
    assert flows.execute(chained(30), executor=executor).value == 30
    (version,) = executor.store.database._steps.execute("PRAGMA user_version").fetchone()
    assert version == _file.VERSION
    executor.close()


heard = threading.Event()


@flows.task
def passed_heard(value: int) -> int:
    assert heard.wait(30.0), "nobody has heard that the job before has completed"
    return value + 1


def test_who_watches_a_chain_hears_of_links_that_are_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = SqliteExecutor(f"sqlite:///{tmp_path}/runs.db?synchronous=normal")
    granted, given = [], SqliteStore.pass_on
    monkeypatch.setattr(
        SqliteStore,
        "pass_on",
        lambda *call: granted.append(following := given(*call)) or following,  # type: ignore[func-returns-value]
    )
    heard.clear()
    run = flows.submit(passed_heard(passed_link(passed_link().out).out), executor=executor)

    def listen() -> None:
        for event in run.events():
            if event.kind == "completed" and event.job == "passed_link":  # the second one
                heard.set()

    listener = threading.Thread(target=listen)
    listener.start()
    assert run.wait().value == 3
    listener.join(30.0)
    assert not listener.is_alive()
    assert any(granted), "links were passed on though somebody listened"
    executor.close()
