"""flows.Worker, as users meet it: what it accepts, how it begins and how it ends; signals in processes of their own."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import flows
from executors.memory import MemoryExecutor
from flows import Queue
from tests.executors.latch import PATIENCE, Latch

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows._registry._tasks", {})


class Passive(MemoryExecutor):
    """A store of its own, in which runs wait for workers, as those of a server do."""

    def __init__(self) -> None:
        super().__init__("memory://?private=1")

    def _start(self, record: Any) -> None:
        pass


def doubled() -> Any:
    @flows.task
    def double(number: int) -> int:
        return 2 * number

    return double


def finished(run: flows.Run[Any]) -> flows.Run[Any]:
    """The run, once it has ended; read, not waited for, as waiting would work it off here."""
    over = threading.Event()
    stop = run._record.watch(lambda: over.set() if run._record.ended else None)
    assert run._record.ended or over.wait(PATIENCE)
    stop()
    return run


def test_a_worker_runs_what_others_submit_and_drains_at_the_end_of_its_block() -> None:
    executor: Any = Passive()
    double = doubled()
    before = flows.submit(double(1), executor=executor)
    with flows.Worker(executor=executor, name="w-1") as worker:
        assert worker.running
        assert finished(before).value == 2
        assert finished(flows.submit(double(4), executor=executor)).value == 8
    assert not worker.running
    assert [attempt.worker for attempt in before.jobs["double"].attempts] == ["w-1"]
    after = flows.submit(double(5), executor=executor)
    with worker:
        assert finished(after).value == 10


def test_runs_of_this_process_are_worked_by_their_own_crews_and_by_workers_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[int] = []

    @flows.task
    def count(number: int) -> int:
        ran.append(number)
        return number

    @flows.task
    def gather(*numbers: int) -> list[int]:
        return list(numbers)

    executor: Any = MemoryExecutor("memory://?private=1")
    with flows.Worker(executor=executor), flows.Worker(executor=executor):
        for size in (3, 200):
            expected = list(range(size))
            flow = gather(*[count(number).out for number in range(size)])
            assert flows.execute(flow, executor=executor).value == expected
            assert flows.submit(flow, executor=executor).wait(PATIENCE).value == expected
            assert sorted(ran) == sorted(expected * 2)
            ran.clear()


def test_it_serves_the_queues_of_all_tasks_unless_told_otherwise() -> None:
    assert flows.Worker().queues == ()
    with pytest.raises(flows.DefinitionError, match="no task is registered that it could run"):
        flows.Worker().start()
    flows.task(queue=Queue("payments", concurrency=2))(doubled().fn)
    assert flows.Worker().queues == ("default", "payments")
    assert flows.Worker(queues=["email", Queue("stock"), "email"]).queues == ("email", "stock")
    assert repr(flows.Worker(queues=["email"], name="w")) == "<flows.Worker 'w' for email>"


@pytest.mark.parametrize(
    ("queues", "level", "said"),
    [
        (["paymnets"], "WARNING", "worker w has no task on paymnets, which it serves; its tasks are on default"),
        (["default", "gpu"], "INFO", "worker w has no task on gpu, which it serves; its tasks are on default"),
    ],
    ids=["none is", "one is not"],
)
def test_it_says_which_of_its_queues_none_of_its_tasks_is_on(
    queues: list[str], level: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    doubled()
    caplog.set_level("INFO", "flows")
    with flows.Worker(executor=Passive(), queues=queues, name="w"):
        pass
    assert (level, said) in [(record.levelname, record.getMessage()) for record in caplog.records]


def test_it_publishes_the_limits_of_the_queues_that_it_knows() -> None:
    executor = Passive()
    with flows.Worker(executor=executor, queues=[Queue("stock", concurrency=2), "other"]):
        limit = executor.store.limit_of("stock")
        assert limit is not None
        assert limit.concurrency == 2
        assert executor.store.limit_of("other") is None


def test_an_executor_without_workers_is_refused() -> None:
    class Alone:
        def submit(self) -> None: ...
        def work(self) -> None: ...

    with pytest.raises(flows.UnsupportedError, match="Alone works its jobs off by itself and has no workers"):
        flows.Worker(executor=Alone(), queues=["a"]).start()  # type: ignore[arg-type]


def test_a_worker_runs_once_at_a_time() -> None:
    worker = flows.Worker(queues=["a"], executor=Passive(), name="twice")
    assert worker.stop(), "it has not begun"
    with worker, pytest.raises(flows.ExecutorError, match="'twice' runs already"):
        worker.start()
    assert worker.stop()


def test_run_blocks_until_somebody_stops_it_and_leaves_signals_as_they_were() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    worker = flows.Worker(executor=Passive(), queues=["a"])

    def stop() -> None:
        while not worker.running:  # what is loaded first may take a while
            threading.Event().wait(0.005)
        worker.stop("20s")

    stopper = threading.Thread(target=stop)
    stopper.start()
    worker.run()
    stopper.join()
    assert before == (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT))
    elsewhere = threading.Thread(target=worker.run)
    elsewhere.start()
    while not worker.running:
        elsewhere.join(0.005)
    assert worker.stop()
    elsewhere.join(PATIENCE)
    assert not elsewhere.is_alive()


def test_what_ends_a_worker_is_raised_where_it_is_waited_for() -> None:
    executor: Any = Passive()

    def refuse(*call: Any) -> Any:
        raise flows.UnsupportedError("the server is too old")

    executor.store.exchange = refuse
    worker = flows.Worker(executor=executor, queues=["a"])
    with pytest.raises(flows.UnsupportedError, match="too old"):
        worker.run()
    with pytest.raises(flows.UnsupportedError, match="too old"), worker:
        worker.wait(PATIENCE)


def test_an_interrupt_while_it_drains_ends_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, free = Latch(), Latch()

    @flows.task
    def hold() -> None:
        begun.open()
        free.wait()

    executor: Any = Passive()
    flows.submit(hold(), executor=executor)
    worker = flows.Worker(executor=executor)

    def drained() -> None:
        with worker:
            begun.wait()
            service = worker._service
            assert service is not None
            wait = service.wait

            def interrupted(timeout: float | None) -> bool:
                monkeypatch.setattr(service, "wait", wait)
                raise KeyboardInterrupt

            monkeypatch.setattr(service, "wait", interrupted)

    with pytest.raises(KeyboardInterrupt):
        drained()
    assert worker.wait(PATIENCE)
    free.open()


# Signals

SCRIPT = """
import logging, os, sys, threading
import flows
from tests.test_worker import Passive

logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
logging.getLogger("flows.jobs").setLevel(logging.CRITICAL)
free = threading.Event()

@flows.task(attempts=1)
def hold() -> str:
    print("begun", flush=True)
    os.read(0, 1)
    return "held"

@flows.task(timeout="10ms")
def stuck() -> None:
    free.wait()

executor = Passive()
run = flows.submit({job}(), executor=executor)
try:
    flows.Worker(executor=executor, concurrency=2, grace={grace}).run()
finally:
    print(run.jobs["{job}"].state, flush=True)
"""


class Process:
    """A worker in a process of its own, and what it says."""

    def __init__(self, job: str, grace: float) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-c", SCRIPT.format(job=job, grace=grace)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )

    def until(self, text: str) -> None:
        assert self.child.stdout is not None
        line = "..."
        while text not in line:
            assert line, f"it never said {text!r}"
            line = self.child.stdout.readline()

    def end(self, say: str = "") -> tuple[str, int]:
        """Its last line and its exit code."""
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        if say:
            self.child.stdin.write(say)
            self.child.stdin.flush()
        self.child.wait(PATIENCE)
        return self.child.stdout.read().splitlines()[-1], self.child.returncode


@contextmanager
def process(job: str, grace: float) -> Iterator[Process]:
    one = Process(job, grace)
    try:
        yield one
    finally:
        one.child.kill()
        one.child.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_drains_the_process(number: int) -> None:
    with process("hold", PATIENCE) as worker:
        worker.until("begun")
        worker.child.send_signal(number)
        worker.until("drains: it holds 1 job,")
        assert worker.end("go on\n") == ("completed", 0)


@pytest.mark.slow
def test_what_outlasts_the_grace_has_been_given_back_when_the_process_ends() -> None:
    with process("hold", 0.0) as worker:
        worker.until("begun")
        worker.child.send_signal(signal.SIGTERM)
        worker.until("does not stop; it goes back")
        assert worker.end() == ("waiting", 0)


def test_a_second_signal_ends_the_process_at_once() -> None:
    with process("hold", 10 * PATIENCE) as worker:
        worker.until("begun")
        worker.child.send_signal(signal.SIGTERM)
        worker.until("drains")
        worker.child.send_signal(signal.SIGINT)
        assert worker.end() == ("active", 128 + signal.SIGINT)


@pytest.mark.slow
def test_a_process_whose_threads_are_lost_to_timeouts_exits_with_code_3() -> None:
    with process("stuck", PATIENCE) as worker:
        worker.until("1 of 2 slots are held")
        assert worker.end() == ("failed", 3)
