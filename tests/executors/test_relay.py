"""Relay: jobs that come one by one, in the thread of the exchange, and all that ends that."""

import threading
from typing import Any

import pytest

import flows
from executors._leasing._relay import MOST
from executors._store import Flight
from executors.memory import MemoryRun, MemoryStore
from executors.redis._flight import InFlight
from flows._verbs import End, Grant, Reply, Settle
from flows._worker import Drain, Exchange, WorkerCore
from tests.executors.latch import Latch
from tests.executors.workshops import ended, own_names, submit, view, working
from tests.flows.test_worker import Bench

__all__ = ["own_names"]


class FarStore(MemoryStore):
    """A store whose calls are sent, and answered later."""

    def begin_exchange(self, *asked: Any) -> Flight:
        reply = self.exchange(*asked)
        return InFlight(lambda: True, lambda: reply)


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> FarStore:
    monkeypatch.setattr(MemoryRun, "simple", True, raising=False)
    monkeypatch.setattr("executors._leasing._floor.LONG_SECONDS", 60.0)  # however seldom we have the processor
    return FarStore(lease_seconds=30.0)


@pytest.fixture
def links(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the calls that were made in relays."""
    numbers: list[int] = []
    link = WorkerCore.link

    def noted(core: WorkerCore, settles: list[Settle]) -> Exchange:
        call = link(core, settles)
        numbers.append(call.seq)
        return call

    monkeypatch.setattr(WorkerCore, "link", noted)
    return numbers


def chain(task: Any, length: int, first: Any = 0) -> Any:
    job = task(first)
    for _ in range(length - 1):
        job = task(job.out)
    return job


def test_a_chain_is_worked_off_in_one_thread_with_a_call_a_link(far: FarStore, links: list[int]) -> None:
    threads: set[str] = set()

    @flows.task
    def relayed(number: int) -> int:
        threads.add(threading.current_thread().name)
        return number + 1

    with working(far) as shop:
        run = submit(far, chain(relayed, 2 * MOST))
        assert ended(run).value == 2 * MOST
        assert len(links) > MOST // 4, "but where another process had the processor for long"
        assert shop.core.seq <= 3 * MOST
    assert shop.core.held == 0
    assert not shop.held()
    assert not shop._settling


def test_a_job_that_blocks_in_a_relay_holds_nobody_up(far: FarStore) -> None:
    latch = Latch()

    @flows.task
    def waiting(number: int) -> int:
        if number == 2:
            latch.wait()
        return number + 1

    @flows.task
    def opening() -> str:
        latch.open()
        return "open"

    with working(far) as shop:
        held_up = submit(far, chain(waiting, 5))
        assert ended(submit(far, opening())).value == "open"
        assert ended(held_up).value == 5
    assert shop.core.held == 0


def test_what_is_raised_in_a_relay_is_judged_as_anywhere(far: FarStore) -> None:
    tries: list[int] = []

    @flows.task(attempts=2)
    def shaky(number: int) -> int:
        tries.append(number)
        if number == 3 and tries.count(3) == 1:
            raise ValueError("once")
        if number == 5:
            raise SystemExit(3)
        return number + 1

    with working(far):
        run = submit(far, chain(shaky, 7))
        found = ended(run)
    assert tries == [0, 1, 2, 3, 3, 4, 5, 5]
    assert found.state == "failed"
    assert [len(view(run).jobs[job].attempts) for job in run.plan.ids] == [1, 1, 1, 2, 1, 2, 0]


def test_a_job_of_a_cancelled_run_is_not_begun(far: FarStore) -> None:
    ran: list[int] = []

    @flows.task
    def cancelling(number: int) -> int:
        ran.append(number)
        if number == 2:
            far.cancel(run, "enough")
        return number + 1

    with working(far):
        begun = threading.Event()

        @flows.task
        def first() -> int:
            assert begun.wait(20)
            return 0

        run = submit(far, chain(cancelling, 6, first().out))
        begun.set()
        assert ended(run).state == "cancelled"
    assert ran == [0, 1, 2]


def test_a_worker_drains_between_two_links(far: FarStore) -> None:
    shops: list[Any] = []

    @flows.task
    def draining(number: int) -> int:
        if number == 3:
            shops[0].drain()
        return number + 1

    with working(far, grace=20.0) as shop:
        shops.append(shop)
        run = submit(far, chain(draining, 6))
        assert shop.wait(20)
    assert shop.core.held == 0
    with working(far):
        assert ended(run).value == 6


@flows.flow
def small(task: Any, last: Any) -> Any:
    return last([task(number) for number in range(5)])


def test_few_jobs_at_once_are_settled_by_one_call(far: FarStore, links: list[int]) -> None:
    @flows.task
    def relayed_leaf(number: int) -> int:
        return number + 1

    @flows.task
    def relayed_sum(numbers: list[int]) -> int:
        return sum(numbers)

    with working(far) as shop:
        for _ in range(20):
            assert ended(submit(far, small(relayed_leaf, relayed_sum))).value == 15
        assert len(links) >= 4, "two a flow, but where another process had the processor for long"
    assert shop.core.held == 0


def test_one_that_blocks_among_few_holds_up_neither_outcomes_nor_those_after_it(far: FarStore) -> None:
    latch, first, others = Latch(), threading.Event(), threading.Event()
    ran: list[int] = []

    @flows.task
    def among(number: int) -> int:
        if number == 2:
            latch.wait()
        ran.append(number)
        if len(ran) == 4:
            others.set()
        return number

    @flows.task
    def after_first(number: int) -> int:
        first.set()
        return number

    @flows.task
    def all_of(numbers: list[int]) -> int:
        return sum(numbers)

    @flows.flow
    def flow() -> Any:
        leaves = [among(number) for number in range(5)]
        return all_of([after_first(leaves[0].out).out, *[leaf.out for leaf in leaves[1:]]])

    with working(far):
        run = submit(far, flow())
        assert first.wait(20), "the outcome of the first one is with the store"
        assert others.wait(20), "those after it have begun"
        latch.open()
        assert ended(run).value == 10


def test_what_is_done_elsewhere_is_not_simple(far: FarStore, monkeypatch: pytest.MonkeyPatch) -> None:
    @flows.task
    def anywhere() -> int:
        return 1

    with working(far) as shop:
        run = submit(far, anywhere())
        ended(run)
        grant = Grant(run, 0, 1, run.fences[0])
        assert shop._floor.is_simple(grant)
        monkeypatch.setattr(shop._floor, "distant", True, raising=False)
        assert not shop._floor.is_simple(grant)


@pytest.mark.parametrize("slots", [1, 2, 50])
@pytest.mark.parametrize("seconds", [0.0, 0.0001, 0.4])
@pytest.mark.parametrize("count", [1, 3])
def test_the_call_of_a_link_is_the_call_of_outcomes(slots: int, seconds: float, count: int) -> None:
    wants = []
    for links in (False, True):
        bench = Bench(slots=slots)
        grants = bench.begin(count)
        for _ in range(3):
            settles = [Settle(grant, End.COMPLETED, 1, 1.0, 1.0 + seconds) for grant in grants]
            assert bench.core.at_rest == count
            if links:
                call = bench.core.link(settles)
            else:
                bench.core.ended(settles, 2.0)
                (call,) = (one for one in bench.core.effects() if isinstance(one, Exchange))
            want = call.want
            wants.append((call.seq, len(call.settles), want.limit, want.at_once, want.suspects, want.queues, want.run))
            grants = bench.grants(count)
            reply = Reply(2.0, grants)
            if links:
                assert bench.core.linked(call.seq, reply)
                assert bench.core.wake_at == (None if count == 1 else 3.0), "one alone has begun"
            else:
                bench.core.replied(call.seq, reply, 2.0)
                assert len([*bench.core.effects()]) == 1
            assert bench.core.held == count
    assert wants[:3] == wants[3:]


def test_an_answer_with_more_to_it_is_no_link() -> None:
    for said in ({"more": True}, {"suspects": 1}, {"refused": [None]}):
        bench = Bench(slots=4)
        grants = bench.begin(2)
        call = bench.core.link([Settle(grant, End.COMPLETED, 1, 1.0, 1.0) for grant in grants])
        assert bench.core.at_rest == 0, "a call is in flight"
        assert not bench.core.linked(call.seq, Reply(2.0, bench.grants(1), **said))
        assert not bench.core.linked(call.seq, Reply(2.0, []))
        assert not bench.core.linked(call.seq + 1, Reply(2.0, bench.grants(1)))
        assert bench.core.linked(call.seq, Reply(2.0, bench.grants(1)))
        assert bench.core.held == 1
        bench.feed(Drain())
        assert bench.core.at_rest == 0
