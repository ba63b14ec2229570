"""What operators ask costs what it answers, however much there is besides."""

from collections.abc import Iterator
from typing import Any

import pytest

import flows
from executors.redis import RedisExecutor
from flows._verbs import End, FailedSettle, Want
from tests.executors.redis.servers import Server

MANY = 450


@flows.task(name="operated")
def operated(number: int) -> None: ...


@pytest.fixture
def executor(valkey: Server) -> Iterator[RedisExecutor]:
    one = RedisExecutor(valkey.url)
    yield one
    one.close()


@pytest.fixture
def sent(executor: RedisExecutor, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The commands that the executor sends."""
    commands: list[Any] = []
    calls = executor.link.calls

    def counted(some: Any, **options: Any) -> Any:
        commands.extend(some)
        return calls(some, **options)

    monkeypatch.setattr(executor.link, "calls", counted)
    return commands


def failed(executor: RedisExecutor, jobs: int) -> flows.Run[Any]:
    """A run of so many jobs that have all failed by themselves."""
    many = flows.flow(lambda: tuple(operated.using(id=f"job-{job:03}")(job) for job in range(jobs)), name="operated")
    run: flows.Run[Any] = flows.submit(many, executor=executor)
    store, seq = executor.store, 0
    settles: list[FailedSettle] = []
    while run.state == "running":
        seq += 1
        grants = store.exchange("loop", seq, settles, Want(64, queues=frozenset({"default"})), "w").grants
        now = store.clock()
        settles = [FailedSettle(grant, End.FAILED, ValueError("no"), now, now) for grant in grants]
    store.close_loop("loop")
    return run


@pytest.mark.slow
def test_dead_letters_are_counted_and_read_page_by_page(executor: RedisExecutor, sent: list[Any]) -> None:
    run = failed(executor, 150)
    (queue,) = executor.queues()
    assert queue.dead == 150
    sent.clear()
    page = executor.dead_letters(limit=5)
    assert len(page.letters) == 5
    assert len(sent) < 60, "not for each of them"
    seen, cursor = [one.letter.job for one in page.letters], page.cursor
    while cursor is not None:
        page = executor.dead_letters(queue="default", limit=60, cursor=cursor)
        seen += [one.letter.job for one in page.letters]
        cursor = page.cursor
    assert sorted(seen) == [f"job-{job:03}" for job in range(150)]
    assert executor.drop_dead_letters(run.id, ["job-007", "job-008", "nobody"]) == 2
    assert executor.queues()[0].dead == 148
    run.retry("job-001")
    assert executor.queues()[0].dead == 147, "that one is tried again"
    run.cancel("enough")
    executor.prune()
    assert executor.dead_letters().letters == []
    assert executor.queues() == []


@pytest.mark.slow
def test_ended_runs_are_pruned_from_the_oldest_on(executor: RedisExecutor, sent: list[Any]) -> None:
    runs = [flows.submit(operated(number), executor=executor) for number in range(MANY)]
    for run in runs[: MANY - 1]:
        run.cancel("enough")
    sent.clear()
    pruned = executor.prune(limit=3, dry_run=True)
    assert ([one.id for one in pruned.runs], pruned.more) == ([run.id for run in runs[:3]], True)
    assert len(sent) < 300, "a page of them was looked at"
    assert [one.id for one in executor.prune(keep=MANY - 3, flow="operated").runs] == [run.id for run in runs[:2]]
    assert executor.prune(older_than=3600).runs == []
    assert executor.prune(flow="another").runs == []
    while executor.prune().more:
        pass
    assert [one.id for one in executor.runs().runs] == [runs[-1].id], "it goes on"
    runs[-1].cancel("enough")
