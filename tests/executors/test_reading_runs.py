"""Reading real runs: while they go on, from other threads, when they are large, and however they ended."""

import asyncio
import gc
import itertools
import re
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from executors.memory import MemoryExecutor, MemoryStore
from flows import Backoff, Job, Opts
from flows._verbs import End
from tests.executors.columns import Caller, Clock, done, other, plan_of, put
from tests.executors.latch import PATIENCE, Latch, gather, in_threads, private
from tests.flows.naive_run import Dag, Edge, dags
from tests.sizes import size

CHAIN = Dag(("fail", "fail", "fail"), (Edge(0, 1), Edge(1, 2)))


@flows.task(name="reading-act")
def act(end: str = "completed") -> str:
    if end == "failed":
        raise ValueError(flows.current().job_id)
    if end == "skipped":
        raise flows.Skip("nothing to do")
    return end


def flow_of(dag: Dag, ends: list[str]) -> flows.Flow[Any]:
    jobs: list[Job[Any]] = []
    for number, policy in enumerate(dag.policies):
        edges = dag.into(number)
        opts = Opts(on_failure=policy, attempts=1 + number % 2)  # type: ignore[arg-type]
        children = [jobs[edge.child] for edge in edges if edge.kind != "order"]
        data = {"end": ends[number]}
        job = Job("reading-act", id=f"job-{number}", queue=f"q{number % 2}", data=data, children=children, opts=opts)
        jobs.append(job.after(*[jobs[edge.child] for edge in edges if edge.kind == "order"]))
    return flows.Flow("any", tuple(jobs), several=True)


FIRST_WORDS = {
    "completed": " completed in ",
    "failed": " failed",
    "skipped": " was skipped ",
    "cancelled": " was cancelled",
}


@given(dags(), st.data())
def test_every_end_of_every_flow_can_be_read(dag: Dag, data: st.DataObject) -> None:
    end = st.sampled_from(("completed", "completed", "failed", "skipped"))
    ends = data.draw(st.lists(end, min_size=dag.size, max_size=dag.size))
    run = flows.execute(flow_of(dag, ends), executor="memory://?private=1&concurrency=1", check=False)
    for name, view in run.jobs.items():
        told = run.explain(name)
        named = set(re.findall(r"job-\d+", told))
        assert told.startswith(name + FIRST_WORDS[view.state])
        assert named <= set(run.jobs)
        if not view.attempts:
            first = re.search(r"because (job-\d+)", told)
            assert first is not None
            assert run.jobs[first[1]].attempts, "the first cause went wrong by itself"
    by_itself = {name for name, view in run.jobs.items() if view.state == "failed" and view.attempts}
    assert {letter.job for letter in run.dead_letters()} == by_itself
    assert [(row.job, row.state) for row in run.table().rows] == [(view.id, view.state) for view in run.jobs.values()]
    judge_timeline(run)


def judge_timeline(run: flows.Run[Any]) -> None:
    timeline = run.timeline()
    assert len(timeline.rows) == sum(len(view.attempts) for view in run.jobs.values())
    assert all(row.waited >= 0 and row.ready >= timeline.start for row in timeline.rows)
    last = max((row for row in timeline.rows if row.end), key=lambda row: row.end or row.start)
    assert run.jobs[timeline.critical_path[-1]].attempts[-1].end == last.end
    for lower, upper in itertools.pairwise(timeline.critical_path):
        ended = run.jobs[lower].attempts[-1].end
        assert ended is not None
        assert ended <= run.jobs[upper].attempts[0].start
    assert str(timeline).count("*") == sum(row.critical for row in timeline.rows) + 1


def test_a_run_that_goes_on_says_what_it_waits_for() -> None:
    started, let_go = Latch(), Latch()

    def hold() -> None:
        flows.current().progress("half")
        started.open()
        let_go.wait()

    def flaky() -> None:
        raise ConnectionError("no answer")

    held = flows.task(hold, name="reading-hold", queue="slow")
    broken = flows.task(flaky, name="reading-flaky", queue="stock", attempts=5, backoff=Backoff.fixed("1h"))
    below = gather.using(id="below")(broken().out)
    run = flows.submit(gather.using(id="root")(below.out, held().out), executor=private())
    started.wait()
    for event in run.events():
        if event.kind == "retrying":
            break
    told = run.explain("root").splitlines()
    assert told[0] == "root waits for 2 jobs:"
    assert re.fullmatch(
        r"- reading-hold, which has been running for [\d.]+ .s on queue slow: "
        r"attempt 1/1 on worker \d+-\d+, progress half",
        told[1],
    )
    assert told[2] == "- reading-flaky: attempt 2/5 in 1 h on queue stock, after ConnectionError: no answer (for below)"
    assert run.explain().startswith(f"run {run.id} of latch-gather: running for ")
    due_at, last = run.jobs["reading-flaky"].due_at, run.jobs["reading-flaky"].attempts[-1].end
    assert due_at is not None
    assert last is not None
    assert 3_600 <= (due_at - last).total_seconds() < 3_600 + PATIENCE
    assert run.jobs["reading-hold"].due_at is None
    assert [row.state for row in run.table().rows].count("active") == 1
    assert str(run.timeline()).count("active") == 1
    run.cancel("that is enough")
    let_go.open()
    run.wait(PATIENCE)
    assert run.explain("reading-flaky").splitlines()[:2] == [
        "reading-flaky was cancelled: that is enough", "It was not running.",
    ]  # fmt: skip
    assert run.jobs["reading-flaky"].due_at is None


def test_waiting_jobs_know_their_place() -> None:
    started, let_go = Latch(), Latch()

    @flows.task(name="reading-hold-line")
    async def hold() -> None:
        started.open()
        await let_go.passed()

    run: flows.Run[Any] = flows.submit(
        flows.Flow("line", tuple(hold.using(id=f"j{n}")() for n in range(4)), several=True),
        executor="memory://?private=1&concurrency=1",
    )
    started.wait()
    told = [run.explain(f"j{n}") for n in range(4)]
    assert told[0].startswith("j0 has been running for ")
    assert told[1:] == [
        "j1 waits for a worker on queue default",
        "j2 waits for a worker on queue default, 1 job before it",
        "j3 waits for a worker on queue default, 2 jobs before it",
    ]
    let_go.open()
    run.wait(PATIENCE)


def test_a_run_can_be_read_while_it_races_on() -> None:
    parts = size(2_000, 600)
    flow = gather(*[act.using(id=f"part-{n}")().out for n in range(parts)])
    run: flows.Run[Any] = flows.submit(flow, executor=private())

    def read() -> None:
        while True:
            ended = run.state != "running"
            texts = run.explain(), run.explain(f"part-{parts - 1}"), str(run.timeline()), str(run.table())
            assert all(texts)
            assert list(run.dead_letters()) == []
            if ended:
                break

    in_threads([read, read])
    assert run.explain("latch-gather").startswith("latch-gather completed in ")


# Lists, conditions, runs that were reopened


def seconds_to_read(size: int, times: int) -> float:
    chain: Job[Any] = act.using(id="first")("failed")
    for _ in range(size // 2):
        chain = gather(chain.out)
    wide = gather(*[act().out for _ in range(size // 2)])
    run = flows.execute(gather(chain.out, wide.out), executor=private(), check=False)
    best = float("inf")
    for _ in range(times):
        begun = time.perf_counter()
        assert "because first failed" in run.explain()
        assert len(run.dead_letters()) == 1
        assert len(run.table().rows) == len(run.jobs)
        assert len(run.timeline().rows) == size // 2 + 2
        best = min(best, time.perf_counter() - begun)
    return best


@pytest.mark.slow
@pytest.mark.alone
def test_the_time_to_read_a_run_grows_as_the_run() -> None:
    small, large = seconds_to_read(5_000, 3), seconds_to_read(100_000, 1)
    assert large < 20 * small * 5, "twenty times the jobs; four hundred times the time would be quadratic"


@pytest.mark.slow
def test_a_long_chain_that_waits_is_explained_without_recursion() -> None:
    chain: Job[Any] = act.using(id="late", delay="24h")()
    for _ in range(100_000):
        chain = gather(chain.out)
    run = flows.submit(chain, executor=private())
    assert run.explain().splitlines()[1].startswith("latch-gather waits for late: starts in ")
    assert run.explain().endswith("and 99,989 more.")
    run.cancel()


# Events


def test_a_job_that_starts_by_itself_is_told_at_once() -> None:
    """Nothing ends when a delay has passed, and yet a reader that waits hears of the start."""
    clock = Clock()
    store = MemoryStore(clock=clock, epoch=0.0)
    run = put(store, plan_of(CHAIN))
    call = Caller(store)
    told = threading.Event()
    unwatch = run.watch(told.set)
    assert len(call(limit=1).grants) == 1
    assert told.is_set()
    told.clear()
    call(limit=1)
    assert not told.is_set(), "nothing has changed"
    unwatch()


def test_a_lost_worker_is_told_at_once() -> None:
    clock = Clock()
    store = MemoryStore(clock=clock, epoch=0.0, lease_seconds=30.0)
    run = put(store, plan_of(CHAIN))
    Caller(store)(limit=1)
    told = threading.Event()
    run.watch(told.set)
    clock.now += 31
    assert store.rescue() == 1
    assert told.is_set()
    assert run.attempts_of(0)[0].outcome == "lost"


def test_the_first_cause_stays_right_when_jobs_get_another_chance() -> None:
    run = put(MemoryStore(), plan_of(CHAIN))
    state = run.state
    for job in range(3):
        state.state[job] = 5
    state.cause.update({1: 0, 2: 1})
    run.errors[0] = flows.Failed("Oops", "", "", "0")
    assert (run.first_cause(2), run.first_cause(1)) == (0, 0)
    del run.errors[0], state.cause[1]
    state.state[0] = 4
    run.errors[1] = flows.Failed("Oops", "", "", "1")
    assert (run.first_cause(2), run.first_cause(1)) == (1, 1)


@pytest.mark.slow
@pytest.mark.alone
def test_a_long_chain_fails_in_about_the_time_that_it_takes_to_complete() -> None:
    def seconds(end: str) -> float:
        chain: Job[Any] = act(end)
        for _ in range(20_000):
            chain = gather(chain.out)
        begun = time.perf_counter()
        flows.execute(chain, executor=private(), check=False)
        return time.perf_counter() - begun

    assert (
        seconds("failed") < 5 * seconds("completed") + 1
    )  # it took 19 seconds when each job looked for the cause anew


def test_a_handler_that_was_given_up_is_not_heard_any_more() -> None:
    started, let_go, spoke = Latch(), Latch(), Latch()

    @flows.task(name="reading-left-behind", timeout="20ms")
    def left_behind() -> None:
        context = flows.current()
        started.open()
        let_go.wait()
        context.progress("far too late")
        spoke.open()

    run = flows.execute(left_behind(), executor=private(), check=False)
    let_go.open()
    spoke.wait()
    assert [event.kind for event in run.events()][-2:] == ["failed", "ended"]
    assert run.jobs["reading-left-behind"].progress is None


def test_late_slow_and_many_readers_get_the_same_events() -> None:
    let_go = Latch()
    hold = flows.task(let_go.wait, name="reading-hold-events")
    run = flows.submit(gather(*[act().out for _ in range(50)], hold().out), executor=private())
    told: list[list[str]] = []

    def slow() -> None:
        kinds = []
        for event in run.events():
            kinds.append(str(event))
            let_go.open()
        told.append(kinds)

    def late() -> None:
        run.wait(PATIENCE)
        slow()

    in_threads([slow, slow, late])
    assert len(told) == 3
    assert told[0] == told[1] == told[2]
    assert told[0][-1].endswith("ended completed")


def watchers(run: flows.Run[Any]) -> int:
    return len(run._record.watchers)  # type: ignore[attr-defined]


def test_readers_that_are_left_behind_leave_nothing_behind() -> None:
    let_go = Latch()
    hold = flows.task(let_go.wait, name="reading-hold-left")
    run = flows.submit(hold(), executor=private())
    reader = run.events()
    next(reader)
    assert watchers(run) == 1
    del reader
    gc.collect()
    assert watchers(run) == 0

    async def main() -> None:
        areader = run.aevents()
        await anext(areader)
        assert watchers(run) == 1
        del areader
        gc.collect()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert watchers(run) == 0
    let_go.open()
    run.wait(PATIENCE)


def test_settles_and_releases_of_stores_are_seen_in_the_readings() -> None:
    clock = Clock()
    executor = MemoryExecutor("memory://?private=1")
    store = MemoryStore(clock=clock, epoch=0.0)
    run = put(store, plan_of(CHAIN))
    call = Caller(store)
    (grant,) = call(limit=1).grants
    reading: flows.Run[Any] = flows.Run(executor, run)
    name = run.plan.ids[0]
    assert reading.explain(name).startswith(f"{name} has been running for 0 ms on queue ")
    call(other(grant, End.RELEASED), limit=0)
    assert reading.explain(name).startswith(f"{name} waits for a worker on queue ")
    (grant,) = call(limit=1).grants
    call(done(grant), limit=0)
    assert reading.explain(name).startswith(f"{name} completed in ")
