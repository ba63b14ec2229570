"""A crew that falls while another hand of it asks for jobs: what that gets too late goes back to whoever goes on."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import flows
from executors._leasing import Crew
from executors.sqlite import SqliteExecutor
from executors.sqlite._store import SqliteStore
from flows._verbs import Grant

LATE = 60.0

strikes = [True]
asking, let_go, answered, again = [threading.Event() for _ in range(4)]


@flows.task
def fallen_quick(number: int) -> int:
    return number


@flows.task
def fallen_striking() -> int:
    if strikes[0]:
        assert asking.wait(LATE)
        raise KeyboardInterrupt
    return 7


@flows.task
def fallen_sum(*those: int) -> int:
    return sum(those)


def test_what_is_claimed_as_a_crew_falls_does_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange, place = SqliteStore.exchange, Crew._place
    late: list[str] = []
    claimed: list[Grant] = []
    placed: list[Grant] = []

    def held_up(self: SqliteStore, loop: str, seq: int, settles: Sequence[Any], *rest: Any) -> Any:
        if settles and not late:
            late.append(loop)
            asking.set()
            assert let_go.wait(LATE)
            reply = exchange(self, loop, seq, settles, *rest)
            claimed.extend(reply.grants)
            answered.set()
            return reply
        if loop in late:
            assert again.wait(LATE)
        reply = exchange(self, loop, seq, settles, *rest)
        if loop not in late and late:
            again.set()
        return reply

    def noted(self: Crew, grants: list[Grant]) -> None:
        if self.fallen is not None:
            placed.extend(grants)
        place(self, grants)

    monkeypatch.setattr(SqliteStore, "exchange", held_up)
    monkeypatch.setattr(Crew, "_place", noted)
    executor = SqliteExecutor(f"sqlite:///{tmp_path}/runs.db?synchronous=normal")
    numbers = [fallen_quick.using(id=f"q{number}")(number).out for number in range(3)]
    with pytest.raises(KeyboardInterrupt):
        flows.execute(fallen_sum(fallen_striking().out, *numbers), executor=executor, key="fallen")
    let_go.set()
    assert answered.wait(LATE)
    strikes[0] = False
    run = flows.submit(fallen_sum(fallen_striking().out, *numbers), executor=executor, key="fallen")
    assert run.wait(LATE).value == 10
    assert len(claimed) == 4
    assert placed == []
    assert {attempt.number for job in run.jobs.values() for attempt in job.attempts} == {1}
    executor.close()
