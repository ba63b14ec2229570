"""Jobs that go to the cluster together: what is the same for them as for others, and what becomes of their results."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tornado.iostream
from distributed import Client, LocalCluster, get_worker

import flows
from executors.dask import DaskExecutor, _cluster, _flights
from executors.dask._way import Way
from executors.dask._words import DONE
from tests.executors.clusters.clusters import LATE, await_that, under_way

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MANY = 300


@pytest.fixture(scope="module")
def pair() -> Iterator[Client]:
    """Two workers of one thread each, which live on."""
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture
def executor(pair: Client, monkeypatch: pytest.MonkeyPatch) -> DaskExecutor:
    monkeypatch.setattr(_cluster, "HELD_SECONDS", LATE)  # however slow the machine is
    monkeypatch.setattr(_flights, "TASK_SECONDS", (LATE, LATE))
    return DaskExecutor(Way(pair))


def key_of_task() -> Any:
    return get_worker().get_current_task()


together_key = flows.task(lambda number: key_of_task(), name="together-key")
together_all = flows.task(lambda *those: list(those), name="together-all")


def test_short_jobs_go_together(executor: DaskExecutor) -> None:
    run = flows.execute(together_all(*[together_key(number).out for number in range(MANY)]), executor=executor)
    assert len(set(run.value)) < MANY / 4
    job = run.jobs["together-key#200"]
    assert job.value == run.value[199]
    assert job.worker is not None


def test_jobs_with_ids_and_options_of_their_own_go_together_as_well(executor: DaskExecutor) -> None:
    about = flows.task(lambda number: (key_of_task(), flows.current().job_id), name="together-about")
    backoff = flows.Backoff.fixed(1)
    jobs = [about.using(id=f"job{number}", attempts=2, backoff=backoff)(number).out for number in range(MANY)]
    run = flows.execute(together_all(*jobs), executor=executor)
    keys, ids = zip(*run.value, strict=True)
    assert len(set(keys)) < MANY / 4
    assert list(ids) == [f"job{number}" for number in range(MANY)]


def test_each_fails_and_is_tried_again_by_itself(executor: DaskExecutor) -> None:
    def picky(number: int) -> int:
        if number % 7 == 3 and flows.current().attempt == 1:
            raise ValueError(number)
        if number == 101:
            raise flows.GiveUp("no")
        return number

    task = flows.task(picky, name="together-picky", attempts=3)
    jobs = [flows.optional(task.using(id=f"p{number}")(number).out) for number in range(MANY)]
    run = flows.execute(together_all(*jobs), executor=executor)
    assert [str(run.value[101])] == ["GiveUp: p101: no"]
    assert [one for one in run.value if isinstance(one, int)] == [number for number in range(MANY) if number != 101]
    assert [attempt.outcome for attempt in run.jobs["p10"].attempts] == ["failed", "completed"]
    assert [attempt.outcome for attempt in run.jobs["p11"].attempts] == ["completed"]


@pytest.mark.parametrize("answers", [True, False])
def test_what_waits_behind_one_that_takes_long_goes_back(
    executor: DaskExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    folder = str(tmp_path)
    asked: list[bool] = []
    back = _cluster._back

    def noted(flight: _flights.Flight, begun: Any) -> None:
        asked.append(not begun.result())
        back(flight, begun)

    def silent(*args: Any, **options: Any) -> None:
        raise OSError("no answer")

    def patient(number: int) -> int:
        while number > 11 and not Path(folder, "go").exists():  # the first show that it takes no time
            threading.Event().wait(0.02)
        Path(folder, f"made-{number}-{time.time_ns()}").touch()
        return number

    monkeypatch.setattr(_cluster, "_back", noted)
    if not answers:
        monkeypatch.setattr(executor._way.cluster().client, "run", silent)
    task = flows.task(patient, name="together-patient")
    run = flows.submit(together_all(*[task(number).out for number in range(MANY)]), executor=executor)
    try:
        await_that(lambda: answers in asked)
        (tmp_path / "go").touch()  # not before: where Dask has what came back run is its own to say
        assert run.wait(LATE).value == list(range(MANY))
    except Exception as error:
        error.add_note(under_way(executor))
        raise
    finally:
        (tmp_path / "go").touch()
    assert (True in asked) is answers
    assert len([*tmp_path.glob("made-*")]) == MANY  # each once


def test_what_was_seen_to_be_large_goes_alone(executor: DaskExecutor) -> None:
    task = flows.task(lambda number: (key_of_task(), bytes(10_000)), name="together-large")
    first = together_all(*[task(number).out[0] for number in range(6)])
    rest = [task.using(id=f"l{number}")(number).after(first) for number in range(100)]
    run = flows.execute(together_all(*[job.out[0] for job in rest]), executor=executor)
    assert len(set(run.value)) == 100


def test_large_results_never_come_here(executor: DaskExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    came = [0]
    read = tornado.iostream.IOStream.read_from_fd

    def counted(self: Any, buffer: Any) -> int | None:
        count = read(self, buffer)
        came[0] += count or 0
        return count

    size = 20_000_000
    make = flows.task(lambda name: bytearray(size), name="together-make")
    take = flows.task(lambda *those: those[0] + those[1][:1], name="together-take")
    count = flows.task(lambda *those: (sum(map(len, those)), key_of_task()), name="together-count")
    jobs = [make.using(id=name, queue=name)(name) for name in "01"]
    taken = [take.using(id=f"t{place}", queue=str(place))(jobs[place].out, jobs[1 - place].out) for place in range(2)]
    monkeypatch.setattr(tornado.iostream.IOStream, "read_from_fd", counted)
    run = flows.execute(count(*[job.out for job in taken]), executor=executor)
    assert run.value[0] == 2 * (size + 1)
    assert {run.jobs["0"].worker, run.jobs["1"].worker} == {run.jobs["t0"].worker, run.jobs["t1"].worker}
    assert len({run.jobs["0"].worker, run.jobs["1"].worker}) == 2  # so both have gone from worker to worker
    assert came[0] < size / 10


def test_an_end_that_is_never_reported_costs_a_lease(executor: DaskExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cluster, "SILENT_SECONDS", 0.2)
    lost: list[Any] = []
    take = _cluster.Cluster._take

    def losing(self: Any, worker: str, reports: Any) -> None:
        dropped = [report for report in reports if report.what == DONE and not lost]
        lost.extend(dropped)
        take(self, worker, [report for report in reports if report not in dropped])

    monkeypatch.setattr(_cluster.Cluster, "_take", losing)
    run = flows.execute(flows.task(lambda: 5, name="together-silent")(), executor=executor)
    assert run.value == 5
    first, second = run.jobs["together-silent"].attempts
    assert (first.outcome, first.number, second.outcome, second.number) == ("lost", 1, "completed", 1)
    assert first.error is not None
    assert "lost with what it had to report" in first.error.message


def test_results_that_are_lost_with_their_worker_are_made_again(tmp_path: Path) -> None:
    folder = str(tmp_path)

    def noted(number: int) -> tuple[int, int]:
        Path(folder, f"made-{number}-{time.time_ns()}").touch()
        return number, os.getpid()

    def gate() -> int:
        Path(folder, "waits").touch()
        while not Path(folder, "go").exists():
            threading.Event().wait(0.02)
        return 0

    note = flows.task(noted, name="together-noted")
    jobs = [note.using(id=f"n{number}")(number) for number in range(60)]
    held = flows.task(gate, name="together-gate")().after(*jobs)
    last = together_all(*[job.out[0] for job in jobs], held.out)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        run = flows.submit(last, executor=DaskExecutor(Way(client)))
        await_that((tmp_path / "waits").exists)
        _, worker = run.jobs["n59"].value
        os.kill(worker, signal.SIGKILL)
        (tmp_path / "go").touch()
        assert run.wait(LATE).value == [*range(60), 0]
    attempts = [attempt for number in range(60) for attempt in run.jobs[f"n{number}"].attempts]
    assert [(attempt.outcome, attempt.number) for attempt in attempts] == [("completed", 1)] * 60
    assert len([*tmp_path.glob("made-59-*")]) == 2
