"""What the executor for Dask does besides what all executors do."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from distributed import Client, LocalCluster, get_worker

import flows
from executors.dask import DaskExecutor, _way, executor_at
from executors.dask._way import Way
from tests.executors.clusters.clusters import LATE, await_that, standing, under_way
from tests.executors.redis.servers import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # a worker takes seconds to start, on a busy machine many

HERE = os.getpid()


@pytest.fixture
def executor(client: Client) -> DaskExecutor:
    return DaskExecutor(Way(client))


def test_functions_and_classes_of_a_script_travel(executor: DaskExecutor) -> None:
    class Oops(Exception):
        pass

    class Pair:
        def __init__(self, left: int, right: int) -> None:
            self.left, self.right = left, right

    @flows.task
    def pair(left: int) -> Any:
        return Pair(left, os.getpid())

    @flows.task(attempts=3, retry_on=Oops)
    async def take(left: int, where: int) -> tuple[int, int, int]:
        if flows.current().attempt < 3:
            raise Oops(left)
        return left, where, os.getpid()

    made = pair(1)
    run = flows.execute(take(made.out.left, made.out.right), executor=executor)
    left, *places = run.value
    assert left == 1
    assert HERE not in places
    assert [attempt.outcome for attempt in run.jobs["take"].attempts] == ["failed", "failed", "completed"]
    worker = run.jobs["take"].worker
    assert worker is not None
    assert worker.startswith("tcp://")


def test_results_come_here_only_when_they_are_read(executor: DaskExecutor) -> None:
    home = HERE

    def rebuilt(pid: int) -> Any:
        assert os.getpid() != pid, "it came home"
        return Stays(pid)

    class Stays:
        def __init__(self, pid: int) -> None:
            self.pid = pid

        def __reduce__(self) -> Any:
            return rebuilt, (self.pid,)

    make = flows.task(lambda: Stays(home), name="dask-make")
    look = flows.task(lambda *those: [one.pid for one in those], name="dask-look")
    run = flows.execute(look(make.using(id="a")().out, make.using(id="b")().out), executor=executor)
    assert run.value == [home, home]
    with pytest.raises(flows.UnavailableError, match="it came home"):
        _ = run.jobs["a"].value


def test_a_result_that_cannot_travel_fails_its_job(executor: DaskExecutor) -> None:
    lock = flows.task(lambda: threading.Lock(), name="dask-lock", attempts=3)
    run = flows.execute(lock(), executor=executor, check=False)
    assert len(run.jobs["dask-lock"].attempts) == 1
    assert "the result, of type lock, cannot leave its worker" in str(run.jobs["dask-lock"].error)


def test_a_queue_is_a_worker_of_its_name_or_a_resource(executor: DaskExecutor) -> None:
    where = flows.task(lambda *_: get_worker().name, name="dask-where")
    jobs = [where.using(queue=str(number % 2), id=f"w{number}")() for number in range(10)]
    run = flows.execute(
        flows.task(lambda *names: list(names), name="dask-all")(*[job.out for job in jobs]), executor=executor
    )
    assert run.value == [0, 1] * 5
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, resources={"gpu": 1}, dashboard_address=":0"
        ) as one,
        Client(one, set_as_default=False) as client,
    ):
        held = flows.task(lambda: dict(get_worker().state.available_resources), name="dask-held", queue="gpu")
        assert flows.execute(held(), executor=DaskExecutor(Way(client))).value == {"gpu": 0}


def test_a_client_is_an_executor(client: Client) -> None:
    run = flows.execute(flows.task(os.getpid, name="dask-pid")(), executor=client, key="client")
    assert run.value != HERE
    assert flows.get(key="client", executor=client).id == run.id


def test_limits_of_queues_are_refused(executor: DaskExecutor) -> None:
    queue = flows.Queue("dask-limited", concurrency=2)
    with pytest.raises(flows.UnsupportedError, match="'dask-limited' has limits"):
        flows.execute(flows.task(os.getpid, name="dask-pid", queue=queue)(), executor=executor)


def test_workers_of_ours_are_refused(executor: DaskExecutor) -> None:
    with (
        pytest.raises(flows.UnsupportedError, match="dask worker"),
        flows.Worker(executor=executor, queues=["default"]),
    ):
        pass


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_way, "CONNECT_SECONDS", 0.1)
    with pytest.raises(flows.UnavailableError, match="no Dask scheduler answers"):
        executor_at("dask://127.0.0.1:1")


@pytest.mark.parametrize("url", ["dask://", "dask://x/y", "dask://x?retries=1", "dask://x?concurrency=0"])
def test_what_is_no_url_of_a_scheduler(url: str) -> None:
    with pytest.raises(flows.errors.UnknownExecutorError):
        executor_at(url)


def test_a_handler_that_cannot_be_imported_there(
    executor: DaskExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("def work():\n    return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import importlib

    work = flows.task(importlib.import_module("only_here").work)
    run = flows.execute(work(), executor=executor, check=False)
    monkeypatch.delitem(sys.modules, "only_here")
    error = run.jobs["work"].error
    assert error is not None
    assert "task 'work' cannot be loaded by the worker tcp://" in error.message
    assert "No module named 'only_here'" in error.message
    assert len(run.jobs["work"].attempts) == 1


def test_other_versions(cluster: LocalCluster, executor: DaskExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = flows.__version__
    monkeypatch.setattr(flows, "__version__", "0.0.1")
    run = flows.execute(flows.task(os.getpid, name="dask-pid")(), executor=executor, check=False)
    error = run.jobs["dask-pid"].error
    assert error is not None
    assert f"has flows {theirs}, and the flow was submitted by 0.0.1" in error.message
    with (
        Client(cluster, set_as_default=False) as client,
        pytest.raises(flows.errors.ExecutorError, match=f"here is flows 0.0.1 .* has flows {theirs}"),
    ):
        DaskExecutor(Way(client))


@pytest.fixture
def frail() -> Iterator[Client]:
    """A cluster whose workers may be killed; each has one thread."""
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def test_a_worker_that_is_killed_costs_its_jobs_a_lease(frail: Client, tmp_path: Path) -> None:
    folder = str(tmp_path)

    def slow(number: int) -> int:
        with Path(folder, f"{number}-{time.time_ns()}").open("x") as file:
            file.write(str(os.getpid()))
        while not Path(folder, "killed").exists():
            threading.Event().wait(0.02)
        return number

    task = flows.task(slow)
    jobs = [task.using(id=f"s{number}")(number).out for number in range(20)]
    run = flows.submit(
        flows.task(lambda *those: sum(those), name="dask-all_of_them")(*jobs), executor=DaskExecutor(Way(frail))
    )
    marker = await_that(lambda: [path for path in tmp_path.iterdir() if path.read_text()])[0]
    os.kill(int(marker.read_text()), signal.SIGKILL)
    (tmp_path / "killed").touch()
    assert run.wait(LATE).value == sum(range(20))
    attempts = [attempt for number in range(20) for attempt in run.jobs[f"s{number}"].attempts]
    assert {attempt.number for attempt in attempts} == {1}
    assert 1 <= [attempt.outcome for attempt in attempts].count("lost") <= 20
    assert [attempt.outcome for attempt in attempts].count("completed") == 20


def test_a_handler_that_kills_its_worker_fails_alone(frail: Client, tmp_path: Path) -> None:
    folder = str(tmp_path)

    def deadly() -> None:
        Path(folder, str(time.time_ns())).touch()
        os._exit(1)

    killer = flows.task(deadly, attempts=5)()
    others = [
        flows.task(lambda number: number, name="dask-fine").using(id=f"f{number}")(number).out for number in range(10)
    ]
    total = flows.task(lambda *those: [str(one) for one in those], name="dask-all_of_them")
    executor = DaskExecutor(Way(frail))
    run = flows.submit(total(flows.optional(killer.out), *others), executor=executor)
    try:
        run.wait(LATE)
    except flows.WaitTimeoutError as error:
        error.add_note(f"{run.explain()}\n{under_way(executor)}\n{frail.scheduler_info()}")
        raise
    assert run.value[1:] == [str(number) for number in range(10)]
    assert run.value[0].startswith("LeaseLostError: deadly: lost its worker 3 times")
    assert [attempt.outcome for attempt in run.jobs["deadly"].attempts] == ["lost"] * 3
    assert len(list(tmp_path.iterdir())) == 3


def test_a_scheduler_that_is_killed_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = str(tmp_path / "begun")

    def endless() -> None:
        Path(begun).touch()
        threading.Event().wait(LATE)

    with standing(tmp_path) as cluster:
        executor: Any = executor_at(cluster.address.replace("tcp", "dask"))
        try:
            first = flows.task(lambda: 1, name="dask-before")()
            run = flows.submit(flows.task(endless)().after(first), executor=executor)
            await_that(Path(begun).exists)
            cluster.kill_scheduler()
            with pytest.raises(flows.UnavailableError, match="scheduler of the Dask cluster was lost"):
                run.wait(LATE)
            assert run.state == "cancelled"
            with pytest.raises(flows.UnavailableError, match="'dask-before' cannot be brought"):
                _ = run.jobs["dask-before"].value
            monkeypatch.setattr(_way, "CONNECT_SECONDS", 0.1)
            with pytest.raises(flows.UnavailableError, match="no Dask scheduler answers"):
                flows.execute(flows.task(os.getpid, name="dask-pid")(), executor=executor)
        finally:
            executor.close()


@pytest.mark.parametrize("url", ["dask://", "dask://h:x", "dask://h/path"])
def test_a_url_names_a_scheduler(url: str) -> None:
    with pytest.raises(flows.errors.UnknownExecutorError, match="takes the address of a scheduler"):
        flows.execute(flows.task(os.getpid, name="dask-pid")(), executor=url)


@pytest.fixture(params=["sqlite", "redis"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a journal, as it stands in that of an executor."""
    if request.param == "sqlite":
        yield f"?journal=sqlite:///{tmp_path}/runs.db"
        return
    server = Server()
    try:
        yield f"?journal={quote(server.url)}"
    finally:
        server.stop()


def test_a_run_in_a_journal_goes_on_from_what_had_completed(journal: str, tmp_path: Path) -> None:
    folder, lists = str(tmp_path), flows.task(lambda: [1, 2], name="dask-lists")

    def noted(number: int) -> int:
        Path(folder, f"noted-{number}-{time.time_ns()}").touch()
        return number

    def endless(*those: int, children: flows.Children = flows.INJECTED) -> int:
        if not Path(folder, "again").exists():
            Path(folder, "begun").touch()
            threading.Event().wait(LATE)
        return sum(those) + len(children)

    note = flows.task(noted, name="dask-noted")
    jobs = [note.using(id=f"n{number}")(number).out for number in range(3)]
    held = flows.task(endless, name="dask-held")(*jobs)
    top = flows.task(lambda total, items: [total, *items], name="dask-top")(held.out, flows.each(note, lists().out).out)
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with standing(first) as cluster:
        executor: Any = executor_at(cluster.address.replace("tcp", "dask") + journal)
        run = flows.submit(top, executor=executor, key="kept")
        await_that((tmp_path / "begun").exists)
        await_that(
            lambda: [job.id for job in run.jobs.values() if job.state != "completed"] == ["dask-held", "dask-top"]
        )
        cluster.kill_scheduler()
        with pytest.raises(flows.UnavailableError, match="goes on"):
            run.wait(LATE)
        assert run.state == "running"
        executor.close()
    (tmp_path / "again").touch()
    with standing(second) as cluster:
        executor = executor_at(cluster.address.replace("tcp", "dask") + journal)
        run = flows.resume("kept", executor=executor)
        assert run.value == [0 + 1 + 2 + 3, 1, 2]
        executor.close()
    noted_there = [path.name.split("-")[1] for path in tmp_path.glob("noted-*")]
    assert [noted_there.count(number) for number in "012"] == [1, 2, 2]  # 1 and 2 are items, too
