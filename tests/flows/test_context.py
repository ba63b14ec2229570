"""The context of a job: what its handler can ask and say, and that it stays with its job."""

import asyncio
import contextvars
import threading
from typing import Any

import pytest

import flows
from flows.errors import RunCancelledError, RunError

request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")

PRIVATE = "memory://?private=1"


def test_it_tells_about_the_job_and_its_run() -> None:
    seen: dict[str, Any] = {}

    @flows.task(name="context-look", queue="context-q", attempts=4)
    def look(value: int) -> None:
        context = flows.current()
        names = ("run_id", "key", "job_id", "task", "queue", "attempt", "attempts", "idempotency_key", "cancelled")
        seen.update({name: getattr(context, name) for name in names}, shown=repr(context))
        context.check()

    run = flows.execute(look.using(id="me")(1), executor=PRIVATE, key="k")
    assert seen == {
        "run_id": run.id,
        "key": "k",
        "job_id": "me",
        "task": "context-look",
        "queue": "context-q",
        "attempt": 1,
        "attempts": 4,
        "idempotency_key": "k/me",
        "cancelled": False,
        "shown": f"<context of 'me' in run {run.id}, attempt 1/4>",
    }


def test_outside_a_job_there_is_none() -> None:
    with pytest.raises(RunError, match=r"flows\.current\(\) was called outside a running job"):
        flows.current()
    flows.execute(flows.task(lambda: flows.current().job_id, name="context-inside")())
    with pytest.raises(RunError):
        flows.current()


def test_the_parameter_and_the_function_give_the_same() -> None:
    @flows.task(name="context-both")
    async def both(context: flows.Context = flows.INJECTED) -> bool:
        now = flows.current()
        return (now.run_id, now.job_id) == (context.run_id, context.job_id)

    assert flows.execute(both()).value is True


def test_async_handlers_at_the_same_time_keep_their_own() -> None:
    @flows.task(name="context-async")
    async def look() -> list[str]:
        ids = []
        for _ in range(5):
            ids.append(flows.current().job_id)
            await asyncio.sleep(0)
        return ids

    gather = flows.task(lambda *lists: lists, name="context-gather")
    run = flows.execute(gather(*(look.using(id=f"job-{number}")().out for number in range(10))))
    assert run.value == tuple([f"job-{number}"] * 5 for number in range(10))


def test_a_thread_of_the_handler_has_it_when_given_a_copy() -> None:
    @flows.task(name="context-thread")
    def spawn() -> list[str]:
        seen: list[str] = []
        scope = contextvars.copy_context()
        for work in (lambda: scope.run(lambda: seen.append(flows.current().job_id)), lambda: seen.append(bare())):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        return seen

    def bare() -> str:
        try:
            return flows.current().job_id
        except RunError:
            return "none"

    assert flows.execute(spawn.using(id="me")()).value == ["me", "none"]


def test_context_variables_do_not_leak_from_job_to_job_or_into_the_caller() -> None:
    @flows.task(name="context-set")
    def change(value: str, before: str = "") -> str:
        seen = request.get()
        request.set(value)
        return seen

    run = flows.execute(change("second", before=change("first").out))
    assert {view.value for view in run.jobs.values()} <= {"none"}
    assert request.get() == "none"


def test_children_of_the_context_are_those_of_the_parameter() -> None:
    @flows.task(name="context-children")
    def collect(value: int, children: flows.Children = flows.INJECTED) -> bool:
        return dict(children.items()) == dict(flows.current().children.items()) == {"below": 1}

    below = flows.task(lambda: 1, name="context-below").using(id="below")()
    assert flows.execute(collect(below.out)).value is True


def test_progress_and_logs_can_be_read_while_the_job_runs() -> None:
    told, read = threading.Event(), threading.Event()

    @flows.task(name="context-tell")
    def tell() -> None:
        flows.current().progress({"step": 1})
        flows.current().log("one")
        flows.current().log(2)  # type: ignore[arg-type]
        told.set()
        assert read.wait(10)

    run = flows.submit(tell(), executor=PRIVATE)
    assert told.wait(10)
    view = run.jobs["context-tell"]
    assert (view.progress, tuple(view.logs), view.state) == ({"step": 1}, ("one", "2"), "active")
    read.set()
    run.wait()
    assert (view.progress, tuple(view.logs)) == ({"step": 1}, ("one", "2"))


def test_a_handler_in_a_thread_can_ask_whether_to_stop() -> None:
    started, cancelled = threading.Event(), threading.Event()
    seen: list[str] = []

    @flows.task(name="context-stop")
    def stop() -> None:
        started.set()
        assert cancelled.wait(10)
        assert flows.current().cancelled
        try:
            flows.current().check()
        except RunCancelledError as error:
            seen.append(str(error))
            raise

    run = flows.submit(stop(), executor=PRIVATE)
    assert started.wait(10)
    run.cancel("enough")
    cancelled.set()
    assert run.wait(10).state == "cancelled"
    assert "job 'context-stop' should stop" in seen[0]


def test_a_context_kept_after_its_job_still_tells_what_it_was() -> None:
    kept: list[flows.Context] = []
    keep = flows.task(lambda: kept.append(flows.current()), name="context-keep")
    run = flows.execute(keep.using(id="me")())
    assert (kept[0].job_id, kept[0].run_id, kept[0].cancelled) == ("me", run.id, False)
