"""Conformance: handlers in processes, which can be killed or die by themselves, and take no other job with them."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import flows
from flows.testing._conformance_kit import SOON, Suite, Where, needs
from flows.testing._conformance_results import give

QUEUE = "conformance-process"

LIMIT = 0.2
"""Seconds of timeouts that are meant to be reached."""


class Refusal(Exception):
    """An exception that holds what cannot leave the process."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{reason} ({code})")
        self.lock = threading.Lock()


@flows.task(name="conformance-process-call", queue=QUEUE, run_in="process")
def call(*args: Any, **kwargs: Any) -> tuple[int, Any, Any]:
    """The process that it runs in, and its arguments."""
    return os.getpid(), args, kwargs


@flows.task(name="conformance-process-await", queue=QUEUE, run_in="process")
async def await_something() -> int:
    """As `call`, but async."""
    import asyncio

    await asyncio.sleep(0)
    return os.getpid()


@flows.task(name="conformance-process-context", queue=QUEUE, run_in="process", attempts=3)
def tell(
    word: str, children: flows.Children = flows.INJECTED, context: flows.Context = flows.INJECTED
) -> dict[str, Any]:
    """All that a handler can know of its job."""
    here = flows.current()
    here.progress({"word": word})
    here.log(f"said {word}")
    context.log("and again")
    names = ("run_id", "key", "job_id", "task", "queue", "attempt", "attempts", "idempotency_key", "cancelled")
    assert all(getattr(here, name) == getattr(context, name) for name in names)
    here.check()
    seen = {name: getattr(here, name) for name in names}
    return seen | {"injected": children.items(), "asked": here.children.items(), "failed": dict(children.failures)}


@flows.task(name="conformance-process-raise", queue=QUEUE, run_in="process", attempts=2)
def throw(kind: str) -> int:
    """Raise something on the first attempt."""
    if flows.current().attempt == 1:
        raise {
            "GiveUp": flows.GiveUp("no use"),
            "Skip": flows.Skip("not today"),
            "RetryAfter": flows.RetryAfter(0.001),
            "LookupError": LookupError("nothing there"),
            "Refusal": Refusal(7, "refused"),
        }[kind]
    return flows.current().attempt


@flows.task(name="conformance-process-die", queue=QUEUE, run_in="process")
def die(how: str, marker: str, times: int) -> str:
    """End the process the hard way, *times* times; *marker* is a file that counts them."""
    with Path(marker).open("ab") as file:
        file.write(b"x")
    if Path(marker).stat().st_size > times:
        return "survived"
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), signal.SIGSEGV)
    threading.Event().wait(SOON)
    return "still here"


@flows.task(name="conformance-process-hang", queue=QUEUE, run_in="process")
def hang(marker: str, polite: bool = False) -> None:
    """Say which process this is, and wait for ever, or until it is told to stop."""
    Path(marker).write_text(str(os.getpid()))
    flows.current().log("hanging")
    flows.current().progress("hanging")
    waited = threading.Event()
    while True:
        waited.wait(0.01)
        if polite:
            flows.current().check()


@flows.task(name="conformance-process-odd", queue=QUEUE, run_in="process", attempts=3)
def lock(value: Any = None) -> Any:
    """A result that cannot leave the process."""
    return threading.Lock()


@flows.task(name="conformance-process-nested", queue=QUEUE, run_in="process")
def nested() -> Any:
    """The result of a flow that is run in the process."""
    return flows.execute(give(give("inner").out), executor="memory://").value


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not yet collected does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    if sys.platform == "linux":
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False
    return True


class Processes(Suite):
    """``run_in="process"``."""

    @needs("process")
    def test_arguments_and_results_travel(self, executor: Where) -> None:
        job = call(1, give({"a": [2]}).out["a"], word="x", all=[give.using(id="b")(3).out])
        pid, args, kwargs = flows.execute(job, executor=executor).value
        assert pid != os.getpid()
        assert (tuple(args), kwargs) == ((1, [2]), {"word": "x", "all": [3]})

    @needs("process")
    def test_an_async_handler_runs_in_a_process_too(self, executor: Where) -> None:
        assert flows.execute(await_something(), executor=executor).value != os.getpid()

    @needs("process")
    def test_many_jobs_for_processes_all_run(self, executor: Where) -> None:
        jobs = [call.using(id=f"c{number}")(number).out for number in range(30)]
        values = flows.execute(give(jobs), executor=executor).value
        assert [args[0] for _, args, _ in values] == list(range(30))

    @needs("process")
    def test_a_handler_knows_its_job_and_is_heard(self, executor: Where) -> None:
        broken = throw.using(id="broken", attempts=1)("LookupError").on_failure("ignore")
        run = flows.execute(
            flows.Job(
                "conformance-process-context", queue=QUEUE, id="told", data={"word": "hi"}, children=[give(5), broken]
            ),
            executor=executor,
        )
        told, view = run.value, run.jobs["told"]
        assert told.pop("failed")["broken"].type == "LookupError"
        assert [list(pair) for pair in told.pop("injected")] == [["conformance-give", 5]]
        assert [list(pair) for pair in told.pop("asked")] == [["conformance-give", 5]]
        expected: dict[str, Any] = {"run_id": run.id, "key": None, "idempotency_key": f"{run.id}/told", "queue": QUEUE}
        expected |= {"job_id": "told", "task": "conformance-process-context", "attempt": 1, "attempts": 3}
        assert told == expected | {"cancelled": False}
        assert (view.progress, list(view.logs)) == ({"word": "hi"}, ["said hi", "and again"])
        assert view.worker

    @needs("process")
    @pytest.mark.parametrize(
        ("kind", "state", "attempts"),
        [
            ("GiveUp", "failed", 1),
            ("Skip", "skipped", 1),
            ("RetryAfter", "completed", 2),
            ("LookupError", "completed", 2),
            ("Refusal", "completed", 2),
        ],
    )
    def test_what_is_raised_means_the_same(self, executor: Where, kind: str, state: str, attempts: int) -> None:
        run = flows.execute(throw.using(id="j")(kind), executor=executor, check=False)
        assert (run.jobs["j"].state, len(run.jobs["j"].attempts)) == (state, attempts)

    @needs("process")
    def test_retry_rules_see_the_exception_whether_it_can_travel_or_not(self, executor: Where) -> None:
        for kind, rule, tries in (
            ("Refusal", Refusal, 2),
            ("Refusal", LookupError, 1),
            ("LookupError", LookupError, 2),
        ):
            task = flows.task(throw.fn, name="ruled", queue=QUEUE, run_in="process", attempts=2, retry_on=rule)
            assert len(flows.execute(task(kind), executor=executor, check=False).jobs["ruled"].attempts) == tries

    @needs("process")
    @pytest.mark.parametrize(("kind", "text"), [("LookupError", "nothing there"), ("Refusal", "refused (7)")])
    def test_an_error_shows_where_it_was_raised(self, executor: Where, kind: str, text: str) -> None:
        run = flows.execute(throw.using(id="j", attempts=1)(kind), executor=executor, check=False)
        error = run.jobs["j"].error
        assert error is not None
        assert (error.type, error.message) == (kind, text)
        assert "in throw" in error.traceback
        with pytest.raises(flows.FlowFailedError) as caught:
            run.check()
        assert text in str(caught.value.__cause__)

    @needs("process")
    @pytest.mark.parametrize("job", [lock(), lock(threading.Lock())], ids=["result", "argument"])
    def test_what_cannot_travel_fails_the_job_at_once(self, executor: Where, job: flows.Job[Any]) -> None:
        try:
            view = flows.execute(job, executor=executor, check=False).jobs["conformance-process-odd"]
        except flows.DataError:
            return  # an executor that stores data refuses it before anything runs
        assert view.error is not None
        assert (view.state, len(view.attempts), "lock" in view.error.message) == ("failed", 1, True)

    @needs("process")
    def test_a_function_that_no_process_could_import_is_refused(self, executor: Where) -> None:
        calls: list[int] = []
        local = flows.task(lambda *_: calls.append(1), name="local", queue=QUEUE, run_in="process")
        with pytest.raises(flows.DefinitionError, match=r"'local'.* top level of a module"):
            flows.execute(local(call().out), executor=executor)
        assert calls == []

    @needs("process", "timeouts")
    def test_a_handler_that_takes_too_long_is_killed(self, executor: Where, tmp_path: Path) -> None:
        marker = tmp_path / "pid"
        run = flows.execute(hang.using(id="slow", timeout=LIMIT)(str(marker)), executor=executor, check=False)
        view = run.jobs["slow"]
        assert view.error is not None
        assert (run.state, view.error.type, len(view.attempts)) == ("failed", "JobTimeoutError", 1)
        assert not is_alive(int(marker.read_text()))
        assert list(view.logs) == ["hanging"]

    @needs("process")
    @pytest.mark.parametrize("how", ["exit", "signal"])
    def test_a_process_that_dies_costs_no_attempt(self, executor: Where, tmp_path: Path, how: str) -> None:
        run = flows.execute(die.using(id="d")(how, str(tmp_path / "times"), 1), executor=executor)
        assert run.value == "survived"
        assert [(attempt.number, attempt.outcome) for attempt in run.jobs["d"].attempts] == [
            (1, "lost"),
            (1, "completed"),
        ]

    @needs("process")
    def test_a_handler_that_always_kills_its_process_fails(self, executor: Where, tmp_path: Path) -> None:
        marker = tmp_path / "times"
        deadly = die.using(id="d", attempts=9)("signal", str(marker), 99).on_failure("ignore")
        run = flows.execute(give([flows.optional(deadly.out), call(1).out]), executor=executor)
        failed, (_, args, _) = run.value
        assert (failed.type, list(args)) == ("LeaseLostError", [1])
        assert [attempt.outcome for attempt in run.jobs["d"].attempts] == ["lost"] * 3
        assert marker.read_bytes() == b"xxx"

    @needs("process", "cancel", "events")
    def test_a_handler_that_asks_sees_that_its_run_was_cancelled(self, executor: Where, tmp_path: Path) -> None:
        run = flows.submit(hang.using(id="h")(str(tmp_path / "pid"), polite=True), executor=executor)
        next(event for event in run.events() if event.kind == "progress")
        run.cancel("enough")
        run.wait(SOON)
        assert (run.state, run.jobs["h"].state) == ("cancelled", "cancelled")

    @needs("process")
    def test_a_flow_can_be_run_in_a_process(self, executor: Where) -> None:
        assert flows.execute(nested(), executor=executor).value == "inner"
