"""What happens to jobs, as log records: for people and for machines, and never in the way of a run."""

import asyncio
import gc
import logging
import threading
from pathlib import Path
from typing import Any

import pytest

import flows
from executors.memory import MemoryExecutor
from executors.memory import _run as run_module
from executors.memory import _teller as teller_module
from executors.sqlite import SqliteExecutor
from flows import Backoff, _job_log
from flows._run_options import run_options

SOON = 20.0


@flows.task(queue="logged")
def one() -> int:
    return 1


@flows.task(queue="logged-payments", attempts=3, backoff=Backoff.fixed("20ms"))
def charge() -> int:
    if flows.current().attempt == 1:
        raise TimeoutError("the bank is asleep")
    return 1


@flows.task(queue="logged")
def broken(value: object = None) -> None:
    raise RuntimeError("no luck")


class Kept(logging.Handler):
    def __init__(self, logger: logging.Logger) -> None:
        super().__init__()
        self.logger = logger
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def of(self, *runs: Any) -> list[logging.LogRecord]:
        """What was said of some runs: those of tests before may end, or be told of, just now."""
        ids = {run.id for run in runs}
        return [record for record in self.records if vars(record)["flows_run"] in ids]

    def lines(self, *runs: Any) -> list[tuple[str, str]]:
        return [(record.levelname, record.getMessage()) for record in self.of(*runs)]


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    """What is logged, from a logger apart from all others: pytest's handlers would listen, too."""
    logger = logging.Manager(logging.RootLogger(logging.WARNING)).getLogger("flows.jobs")
    monkeypatch.setattr(_job_log, "logger", logger)
    logger.setLevel(logging.DEBUG)
    handler = Kept(logger)
    logger.addHandler(handler)
    return handler


def test_a_jobs_way_is_logged_in_order_with_levels(kept: Kept) -> None:
    run = flows.execute(charge())
    (started, failed, again, completed) = kept.lines(run)
    assert started == ("DEBUG", "charge attempt 1/3 started")
    assert failed[0] == "WARNING"
    head, _, tail = failed[1].partition(": ")
    assert head.startswith("charge attempt 1/3 failed after ")
    assert tail == "TimeoutError: the bank is asleep; again in 0.02 s"
    assert again == ("DEBUG", "charge attempt 2/3 started")
    assert completed[0] == "INFO"
    assert completed[1].startswith("charge attempt 2/3 completed in ")


def test_records_carry_fields(kept: Kept) -> None:
    run = flows.execute(charge())
    _, record, *_ = kept.of(run)
    said = {name.removeprefix("flows_"): value for name, value in vars(record).items() if name.startswith("flows_")}
    attempt = run.jobs["charge"].attempts[0]
    assert said == {
        "event": "retrying",
        "run": run.id,
        "trace": run.trace_id,
        "job": "charge",
        "task": "charge",
        "queue": "logged-payments",
        "attempt": 1,
        "attempts": 3,
        "seconds": attempt.seconds,
        "error": "TimeoutError",
    }
    assert attempt.end is not None
    assert record.created == attempt.end.timestamp()


def test_a_failure_is_an_error_and_what_it_dooms_is_not(kept: Kept) -> None:
    kept.logger.setLevel(logging.INFO)
    run = flows.execute(broken.using(id="above")(broken().out), check=False)
    first, second = kept.lines(run)
    assert first[0] == "ERROR"
    assert first[1].startswith("broken failed after ")
    assert first[1].endswith(": RuntimeError: no luck")
    assert second == ("INFO", "above failed: DependencyFailedError: dependency 'broken' failed: RuntimeError: no luck")


def test_skipped_and_cancelled_jobs_are_logged(kept: Kept) -> None:
    @flows.task
    def idle() -> None:
        raise flows.Skip("nothing to do")

    kept.logger.setLevel(logging.INFO)
    run = flows.execute(idle())
    executor = MemoryExecutor("memory://?private=1")
    record = executor.submit(flows.plan(one()), run_options(None, {}, {}), background=False)
    executor.cancel(record, "changed my mind")
    executor.work(record, None)
    (skipped, cancelled) = kept.lines(run, record)
    assert skipped[1].startswith("idle was skipped after ")
    assert skipped[1].endswith(": Skip: nothing to do")
    assert cancelled == ("INFO", "one was cancelled: RunCancelledError: changed my mind")


def test_async_runs_have_been_told_when_the_caller_goes_on(kept: Kept) -> None:
    @flows.task
    async def looped() -> int:
        return 1

    run = asyncio.run(flows.aexecute(looped()))
    assert [vars(record)["flows_event"] for record in kept.of(run)] == ["started", "completed"]


@pytest.mark.parametrize("forged", ["\n", "\r\n", "\x1b[2J", "\u2028", "\x85"])
def test_no_text_of_a_user_forges_a_line(kept: Kept, forged: str) -> None:
    @flows.task
    def lying() -> None:
        raise RuntimeError(f"oops{forged}ERROR flows.jobs payment refused %s %(x)s")

    run = flows.execute(lying(), check=False)
    for _, line in kept.lines(run):
        assert line.isprintable()
        assert len(line.splitlines()) == 1
    assert "%s %(x)s" in kept.lines(run)[-1][1]


def test_a_long_text_is_cut(kept: Kept) -> None:
    @flows.task
    def wordy() -> None:
        raise RuntimeError("x" * 10_000)

    run = flows.execute(wordy(), check=False)
    assert len(kept.lines(run)[-1][1]) < 600


def test_a_handler_that_raises_costs_the_run_nothing(kept: Kept) -> None:
    class Broken(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise SystemExit(record.getMessage()) if record.levelno == logging.INFO else RuntimeError("no disk")

    broken_handler = Broken()
    kept.logger.addHandler(broken_handler)
    try:
        for _ in range(3):
            assert flows.execute(charge()).value == 1
    finally:
        kept.logger.removeHandler(broken_handler)
    run = flows.execute(charge())
    assert run.value == 1
    assert kept.lines(run)[-1][0] == "INFO"


def test_a_handler_that_blocks_does_not_hold_runs_up(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    free, blocked = threading.Event(), threading.Event()

    class Blocking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            blocked.set()
            free.wait(SOON)

    own = teller_module.Teller()  # whoever comes after this test must not find a teller that is stuck
    monkeypatch.setattr(teller_module, "teller", own)
    monkeypatch.setattr(run_module, "teller", own)
    monkeypatch.setattr(teller_module, "PATIENCE_SECONDS", 0.01)
    blocking = Blocking()
    kept.logger.addHandler(blocking)
    try:
        assert flows.execute(one()).value == 1
        assert blocked.wait(SOON)
        monkeypatch.setattr(teller_module, "PATIENCE_SECONDS", SOON)
        for _ in range(3):  # nobody waits again for a teller that is known to be stuck
            assert flows.execute(one()).value == 1
        assert not free.is_set()
    finally:
        kept.logger.removeHandler(blocking)
        free.set()


def test_a_handler_that_runs_a_flow_does_not_wait_for_itself(kept: Kept) -> None:
    values: list[int] = []

    class Running(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.__dict__["flows_event"] == "completed" and not values:
                values.append(0)
                values.append(flows.execute(one()).value)

    running = Running()
    kept.logger.addHandler(running)
    try:
        flows.execute(one())
    finally:
        kept.logger.removeHandler(running)
    assert values == [0, 1]


def telling_of(executor: MemoryExecutor) -> teller_module.Telling | None:
    run = flows.execute(one(), executor=executor)
    record = executor.find(run_id=run.id)
    assert record is not None
    return record.telling


def test_nothing_is_told_where_nobody_listens(kept: Kept) -> None:
    executor = MemoryExecutor("memory://?private=1")
    assert telling_of(executor) is not None
    kept.logger.removeHandler(kept)
    assert telling_of(executor) is None
    kept.logger.addHandler(kept)
    kept.logger.setLevel(logging.CRITICAL)
    assert telling_of(executor) is None


def test_who_listens_for_failures_only_is_not_told_of_anything_else(kept: Kept) -> None:
    kept.logger.setLevel(logging.WARNING)
    executor = MemoryExecutor("memory://?private=1")
    telling = telling_of(executor)
    assert telling is not None
    assert not telling.all_along
    assert not telling.done.is_set()  # the teller has not even looked
    run = flows.execute(broken(), check=False)
    assert [level for level, _ in kept.lines(run)] == ["ERROR"]


def test_a_run_that_was_told_of_leaves_memory_with_its_handle(kept: Kept) -> None:
    executor = MemoryExecutor("memory://?private=1")
    run = flows.execute(one(), executor=executor)
    run_id = run.id
    del run
    gc.collect()
    assert executor.find(run_id=run_id) is None


def test_every_job_of_a_wide_run_is_logged_once(kept: Kept) -> None:
    @flows.task
    def total(values: list[int]) -> int:
        return sum(values)

    run = flows.execute(total([one.using(id=f"one{n}")().out for n in range(500)]))
    completed = [vars(record)["flows_job"] for record in kept.of(run) if record.levelno == logging.INFO]
    assert sorted(completed) == sorted([*(f"one{n}" for n in range(500)), "total"])


@flows.task(queue="logged")
def several() -> list[int]:
    return [1, 2]


@flows.task(queue="logged")
def same(item: int) -> int:
    return item


@flows.task(queue="logged")
def together(items: list[int], other: int) -> int:
    return len(items) + other


@pytest.mark.parametrize("file", [False, True])
@pytest.mark.parametrize("amiss", [False, True])
def test_the_line_of_a_list_tells_of_no_attempt_whatever_else_goes_wrong(
    kept: Kept, tmp_path: Path, file: bool, amiss: bool
) -> None:
    executor = SqliteExecutor(f"sqlite:///{tmp_path}/logged.db?synchronous=normal") if file else MemoryExecutor()
    items = flows.each(same, several().out)
    run = flows.execute(together(items.out, (charge if amiss else one)().out), executor=executor)
    assert {event.attempt for event in run.events() if event.job == "same"} == {None}
    if isinstance(executor, SqliteExecutor):
        executor.close()
    (line,) = [record for record in kept.of(run) if record.getMessage().startswith("same completed")]
    assert vars(line)["flows_attempt"] is None
