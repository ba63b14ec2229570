"""The thread of the exchange as a hand: it runs short jobs itself, and is replaced where one of them is not short."""

import threading
from collections import deque
from typing import Any

import flows
from executors._leasing._lending import SLICE_JOBS, Lending
from executors.memory import MemoryStore
from tests.executors.latch import PATIENCE
from tests.executors.workshops import ended, own_names, store, submit, working

__all__ = ["own_names", "store"]


def refused() -> None:
    raise RuntimeError("can't start new thread")


def test_a_slice_ends_after_so_many_jobs() -> None:
    line: deque[Any] = deque(range(SLICE_JOBS + 1))
    ran: list[Any] = []
    lending = Lending(line, ran.append, refused)
    assert lending.tick(0.0) is None
    assert lending.run()
    assert 0 < len(ran) <= SLICE_JOBS
    assert [*ran, *line] == [*range(SLICE_JOBS + 1)]
    while line:
        assert lending.run()
    assert lending.tick(0.0) is None


def test_who_is_held_up_is_replaced_once_and_only_where_there_is_somebody_else() -> None:
    replaced: list[int] = []
    looks: list[float | None] = []

    def work(job: object) -> None:
        looks.extend(lending.tick(1.0) for _ in range(5))

    line: deque[Any] = deque([1, 2])
    lending = Lending(line.copy(), work, lambda: replaced.append(1))
    assert not lending.run()
    assert replaced == [1]
    assert looks[0] is not None
    assert looks[-1] is None, "nothing is lent any more"
    lending = Lending(line, work, refused)
    assert lending.run()
    assert replaced == [1]


def test_a_worker_goes_on_while_its_first_job_blocks(store: MemoryStore) -> None:
    free, begun = threading.Event(), threading.Event()

    @flows.task(name="lend-block")
    def block() -> None:
        begun.set()
        assert free.wait(PATIENCE)

    @flows.task(name="lend-quick")
    def quick(number: int) -> int:
        return number + 1

    with working(store, slots=2) as shop:
        for _ in range(3):  # each time, the job that blocks is given to the exchange's own thread
            free.clear()
            begun.clear()
            held = submit(store, block())
            shop.wake()
            assert begun.wait(PATIENCE)
            other = submit(store, quick(quick(1).out))
            shop.wake()
            assert ended(other).value == 3
            assert not held.ended
            free.set()
            assert ended(held).state == "completed"
