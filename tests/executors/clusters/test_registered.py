"""Literal jobs whose functions only the workers have: these have imported the module, and are asked by name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from distributed import Client

import flows
from executors.dask import DaskExecutor
from executors.dask._way import Way
from flows import Job, Opts
from tests.executors.clusters.clusters import standing

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

APP = '''
import os
import flows
from pydantic import BaseModel

bills = flows.Queue("dask-bills", attempts=4)

class Oops(Exception):
    """Importable there only."""

class Bill(BaseModel):
    total: int

@flows.task(queue=bills, name="dask-charge", retry_on=Oops, backoff=flows.Backoff.custom(lambda attempt, error: 0.0))
def charge(bill: Bill, context: flows.Context = flows.INJECTED) -> dict:
    if context.attempt < 3:
        raise Oops(context.attempt)
    return {"total": bill.total, "pid": os.getpid(), "key": context.idempotency_key}

@flows.task(queue=bills, name="dask-refuse", retry_on=Oops)
def refuse() -> None:
    raise ValueError("no")

@flows.task(queue=bills, name="dask-slow", timeout=0.2, attempts=1)
async def slow() -> None:
    import asyncio
    await asyncio.sleep(600)

@flows.task(queue=bills, name="dask-report")
async def report(title: str, times: int = 2, *, children: flows.Children = flows.INJECTED) -> list:
    return [title] * times + [value["total"] for value in children.values.values()] + [*map(str, children.failures)]

@flows.task(name="dask-apart", run_in="process")
def apart(number: int) -> tuple:
    return number, os.getpid()
'''


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskExecutor]:
    folder = tmp_path_factory.mktemp("registered")
    (folder / "dask_app_of_tests.py").write_text(APP)
    with (
        standing(folder, "--preload", "dask_app_of_tests") as cluster,
        Client(cluster.address, set_as_default=False) as client,
    ):
        client.wait_for_workers(1)
        yield DaskExecutor(Way(client))


def bill(name: str, total: object) -> Job[Any]:
    return Job("dask-charge", queue="dask-bills", data={"bill": {"total": total}}, id=name)


def test_the_function_and_the_options_are_the_workers(executor: DaskExecutor) -> None:
    refused = Job("dask-refuse", queue="dask-bills", id="refused", opts=Opts(on_failure="ignore"))
    top = Job(
        "dask-report", queue="dask-bills", data={"title": "sum"}, children=[bill("a", 3), bill("b", "4"), refused]
    )
    run = flows.execute(top, executor=executor, key="named")
    assert run.value == ["sum", "sum", 3, 4, "refused"]
    assert run.jobs["b"].value["key"] == "named/b"
    assert run.jobs["b"].value["pid"] != os.getpid()
    assert [attempt.outcome for attempt in run.jobs["a"].attempts] == ["failed", "failed", "completed"]
    assert [attempt.error.type for attempt in run.jobs["a"].attempts if attempt.error] == ["Oops", "Oops"]
    assert len(run.jobs["refused"].attempts) == 1  # though its queue allows four: that is not what is tried again


def test_data_is_checked_there(executor: DaskExecutor) -> None:
    run = flows.execute(bill("wrong", "much"), executor=executor, check=False)
    assert "data.bill.total" in str(run.jobs["wrong"].error)
    assert len(run.jobs["wrong"].attempts) == 1
    run = flows.execute(Job("dask-report", queue="dask-bills", data={"titel": "x"}), executor=executor, check=False)
    assert "data lacks 'title'" in str(run.jobs["dask-report"].error)
    assert "data has 'titel'" in str(run.jobs["dask-report"].error)


def test_its_timeout_and_its_process_are_the_tasks(executor: DaskExecutor) -> None:
    run = flows.execute(Job("dask-slow", queue="dask-bills"), executor=executor, check=False)
    assert str(run.jobs["dask-slow"].error) == "JobTimeoutError: dask-slow: timeout of 0.2 s passed"
    number, process = flows.execute(Job("dask-apart", data={"number": 5}), executor=executor).value
    assert number == 5
    assert process not in (os.getpid(), flows.execute(bill("c", 1), executor=executor).value["pid"])


def test_items_of_a_list_and_tasks_of_this_process_beside(executor: DaskExecutor) -> None:
    totals = flows.task(lambda: [1, 2, 3], name="dask-totals")
    add = flows.task(lambda those: sum(one["total"] for one in those), name="dask-add")

    def billed(total: int) -> Job[Any]:
        return Job("dask-charge", queue="dask-bills", data={"bill": {"total": total}})

    assert flows.execute(add(flows.each(billed, totals().out).out), executor=executor).value == 6


def test_what_nobody_has_registered_is_refused(executor: DaskExecutor) -> None:
    top = Job("dask-report", queue="dask-bills", data={"title": "x"}, children=[Job("dask-nobody", id="n")])
    with pytest.raises(flows.UnknownTaskError, match=r"job 'n': no task named 'dask-nobody' .* --preload"):
        flows.execute(top, executor=executor)


def test_a_path_is_no_name(executor: DaskExecutor) -> None:
    for name in ("os:getpid", "os.getpid", "dask_app_of_tests.charge", "dask_app_of_tests:charge", "charge"):
        with pytest.raises(flows.UnknownTaskError):
            flows.execute(Job(name), executor=executor)


def test_a_worker_that_has_not_registered_it(executor: DaskExecutor) -> None:
    def learn() -> None:
        flows.task(lambda: 1, name="dask-learnt")

    def forget() -> int:
        from flows import _registry

        _registry._tasks.pop("dask-learnt")
        return 1

    executor._way.cluster().client.run(learn)
    first = flows.task(forget, name="dask-forget")()
    assert flows.execute(Job("dask-learnt"), executor=executor).value == 1
    run = flows.execute(
        flows.task(lambda one: one, name="dask-id")(Job("dask-learnt", id="l").after(first).out),
        executor=executor,
        check=False,
    )
    error = run.jobs["l"].error
    assert error is not None
    assert "task 'dask-learnt' is not registered for queue 'default' in the worker tcp://" in error.message
    assert len(run.jobs["l"].attempts) == 1
