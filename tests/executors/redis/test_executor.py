"""What only a fleet has: idle workers, queues that nobody serves, a user of its own, events that are forgotten."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

import flows
from executors.redis import RedisExecutor
from executors.redis._unserved import Unserved
from tests.executors.redis.servers import Server

QUEUE = "fleet"
SOON = 20.0


@flows.task(name="fleet-double", queue=QUEUE)
def double(x: int) -> int:
    return 2 * x


@flows.task(name="fleet-total", queue=QUEUE)
def total(*numbers: int) -> int:
    flows.current().progress({"added": len(numbers)})
    flows.current().log(f"{len(numbers)} numbers")
    return sum(numbers)


@flows.flow
def doubled(count: int) -> Any:
    return total.using(id="sum")(*[double(number).out for number in range(count)])


@pytest.fixture
def executor(valkey: Server) -> Iterator[RedisExecutor]:
    one = RedisExecutor(valkey.url)
    yield one
    one.close()


@pytest.mark.slow
@pytest.mark.alone
def test_idle_workers_cost_next_to_nothing_and_start_at_once(valkey: Server, executor: RedisExecutor) -> None:
    workers = [flows.Worker(executor, queues=[QUEUE], name=f"idle-{number}", grace=1) for number in range(4)]
    for worker in workers:
        worker.start()
    flows.execute(doubled(3), executor=executor)
    sent: Counter[str] = Counter()
    over = threading.Event()
    with valkey.client().monitor() as monitor:

        def listen() -> None:
            for said in monitor.listen():
                if over.is_set():
                    return
                if said["client_type"] != "lua":
                    sent[said["command"].split()[0]] += 1

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        begun = time.monotonic()
        assert not over.wait(12.0)  # what is measured is that time passes and nothing is asked
        seconds = time.monotonic() - begun
        idle = sum(sent.values())
        over.set()
        submitted = time.monotonic()
        run = flows.execute(doubled(3), executor=executor)
        took = time.monotonic() - submitted
        thread.join(SOON)
    for worker in workers:
        worker.stop()
    assert idle / seconds / len(workers) < 2.0, sent
    assert run.value == 6
    assert took < 1.0


def test_of_queues_whose_run_has_ended_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[str] = []

    def goes_on(run_id: str) -> bool:
        asked.append(run_id)
        return run_id == "open"

    unserved = Unserved(lambda queues: {"served"}, goes_on)
    for queue, run_id in (("served", "open"), ("ended", "open"), ("ended", "over"), ("waits", "open")):
        unserved.look_after([queue], run_id)
    unserved._look(["served", "ended", "waits"])
    unserved.close()
    assert asked == ["over", "open"]
    assert [record.args for record in caplog.records] == [("waits", "waits")]


def test_a_queue_that_nobody_serves_is_said_and_explained(
    executor: RedisExecutor, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("executors.redis._unserved.PATIENCE_SECONDS", 0.01)
    told = threading.Event()

    class Hears(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if f"no worker serves the queue {QUEUE}" in record.getMessage():
                told.set()

    hears = Hears()
    logging.getLogger("flows").addHandler(hears)
    try:
        run = flows.submit(doubled(2), executor=executor)
        assert told.wait(SOON)
    finally:
        logging.getLogger("flows").removeHandler(hears)
    assert f"no worker serves queue {QUEUE}" in run.explain("fleet-double")
    run.cancel("enough")
    assert run.wait(SOON).state == "cancelled"


def test_events_that_the_server_has_forgotten_are_told_from_the_run(valkey: Server, executor: RedisExecutor) -> None:
    with flows.Worker(executor, queues=[QUEUE], grace=1):
        run = flows.execute(doubled(2), executor=executor)
        assert Counter(event.kind for event in run.events())["progress"] == 1
        valkey.ask("XTRIM", executor.store.shard.keys.of("events"), "MAXLEN", 1)
        flows.execute(doubled(2), executor=executor)
        kinds = [event.kind for event in run.events()]
    assert Counter(kinds) == {"submitted": 1, "started": 3, "completed": 3, "ended": 1}
    assert (kinds[0], kinds[-1]) == ("submitted", "ended")


def test_another_process_finds_what_was_submitted_and_reads_all_of_it(valkey: Server, executor: RedisExecutor) -> None:
    with flows.Worker(executor, queues=[QUEUE], name="w1", grace=1):
        run = flows.execute(doubled(3), executor=executor, key="there")
        other = RedisExecutor(valkey.url)
        found = flows.get(key="there", executor=other)
        assert (found.id, found.value, found.state) == (run.id, 6, "completed")
        assert found.jobs["sum"].progress == {"added": 3}
        assert found.jobs["sum"].logs == ("3 numbers",)
        assert {job.worker for job in found.jobs.values()} == {"w1"}
        other.close()


def test_a_cancel_reaches_handlers_that_run(executor: RedisExecutor) -> None:
    begun, seen = threading.Event(), threading.Event()

    @flows.task(name="fleet-holds", queue=QUEUE)
    def holds() -> None:
        begun.set()
        while not flows.current().cancelled:
            threading.Event().wait(0.001)
        seen.set()
        flows.current().check()

    with flows.Worker(executor, queues=[QUEUE], grace=1):
        run = flows.submit(holds(), executor=executor)
        assert begun.wait(SOON)
        run.cancel("enough")
        assert seen.wait(5.0)  # and not only when its lease is renewed
        assert run.wait(SOON).state == "cancelled"
