"""Conformance: what an executor offers to those who operate it; see `flows.operating.Operator`."""

from __future__ import annotations

import threading

import pytest

import flows
from flows import Run
from flows.operating import VERBS, Operator, QueueSummary, operator
from flows.testing._conformance_kit import SOON, Oops, Suite, Where, failing, lacks, needs
from flows.testing._conformance_results import give

QUEUE = "conformance-operating"
MOMENT = 0.05
"""Seconds for which something is watched that must not happen."""

held = give.using(queue=QUEUE)


def seen(operating: Operator, name: str = QUEUE) -> QueueSummary:
    """How it stands with a queue; with nothing in it, where it is not listed."""
    return next((queue for queue in operating.queues() if queue.name == name), QueueSummary(name, 0, 0, 0))


def ids(operating: Operator, limit: int = 100, **wanted: object) -> list[str]:
    """The ids of all runs that are listed, page by page."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = operating.runs(limit=limit, cursor=cursor, **wanted)  # type: ignore[arg-type]
        assert len(page.runs) <= limit
        found += [run.id for run in page.runs]
        cursor = page.cursor
        if cursor is None:
            return found


class Operating(Suite):
    """Listings, pauses, dead letters, pruning, the doctor."""

    @needs("operating")
    def test_runs_are_listed_newest_first_and_each_once(self, executor: Where) -> None:
        executor, operating = self._both(executor)
        runs: list[Run[object]] = [flows.execute(give(n), executor=executor) for n in range(5)]
        bad = flows.execute(give(failing()().out), executor=executor, key="k", check=False)
        newest_first = [bad.id, *(run.id for run in reversed(runs))]
        assert ids(operating) == ids(operating, limit=2) == newest_first
        assert ids(operating, state="failed") == [bad.id]
        assert ids(operating, state="completed", limit=2) == newest_first[1:]
        assert ids(operating, flow="no such flow") == []
        assert ids(operating, flow=bad.name) == newest_first
        [summary] = operating.runs(state="failed").runs
        assert (summary.id, summary.key, summary.flow, summary.state) == (bad.id, "k", bad.name, "failed")
        assert (summary.jobs, summary.open) == (2, 0)
        assert summary.ended_at is not None
        assert summary.submitted_at <= summary.ended_at
        with pytest.raises(flows.DefinitionError):
            operating.runs(cursor="no page gave this")

    @needs("operating")
    def test_a_paused_queue_hands_nothing_out_until_it_is_resumed(self, executor: Where) -> None:
        executor, operating = self._both(executor)
        operating.pause_queue(QUEUE)
        operating.pause_queue(QUEUE)
        run = flows.submit(give(held.using(id="kept")(give.using(id="first")(1).out).out), executor=executor)
        with pytest.raises(flows.WaitTimeoutError):
            run.wait(MOMENT)
        while run.jobs["first"].state != "completed":  # other queues go on
            with pytest.raises(flows.WaitTimeoutError):
                run.wait(MOMENT)
        assert run.state == "running"
        assert not run.jobs["kept"].attempts
        queue = seen(operating)
        assert (queue.paused, queue.waiting, queue.active) == (True, 1, 0)
        assert ids(operating, state="running") == [run.id]
        assert "paused" in run.explain("kept")
        operating.resume_queue(QUEUE)
        operating.resume_queue(QUEUE)
        assert run.wait(SOON).value == 1
        assert not seen(operating).paused

    @needs("operating")
    def test_what_runs_when_a_queue_is_paused_goes_on(self, executor: Where) -> None:
        executor, operating = self._both(executor)
        begun, go = threading.Event(), threading.Event()

        def slow() -> str:
            begun.set()
            return "done" if go.wait(SOON) else "late"

        run = flows.submit(flows.task(slow, name="conformance-slow", queue=QUEUE)(), executor=executor)
        waiter = threading.Thread(target=run.wait, args=(SOON,))  # who waits works it off, where that is so
        waiter.start()
        assert begun.wait(SOON)
        operating.pause_queue(QUEUE)
        queue = seen(operating)
        assert (queue.active, queue.paused) == (1, True)
        go.set()
        waiter.join(SOON)
        assert run.wait(SOON).value == "done"
        operating.resume_queue(QUEUE)

    @needs("operating")
    def test_dead_letters_of_all_runs_are_listed_until_they_are_dropped(self, executor: Where) -> None:
        executor, operating = self._both(executor)
        runs = [
            flows.execute(
                give.using(id="above")(failing("grave").using(queue=QUEUE, id="grave")().out),
                executor=executor,
                check=False,
            )
            for _ in range(3)
        ]
        page = operating.dead_letters(limit=2)
        assert [entry.run for entry in page.letters] == [runs[2].id, runs[1].id]
        assert page.cursor is not None
        assert [entry.run for entry in operating.dead_letters(cursor=page.cursor).letters] == [runs[0].id]
        entry = page.letters[0]
        assert (entry.flow, entry.ended, entry.letter.job, entry.letter.queue) == (runs[2].name, True, "grave", QUEUE)
        assert entry.letter.error.type == Oops.__name__
        assert operating.dead_letters(queue="another-queue").letters == []
        assert operating.dead_letters(flow="another flow").letters == []
        assert seen(operating).dead in (3, None)
        assert operating.drop_dead_letters(runs[1].id, ["above"]) == 0  # it failed because of another
        assert operating.drop_dead_letters(runs[1].id, ["grave"]) == 1
        assert operating.drop_dead_letters(runs[1].id) == 0
        assert [entry.run for entry in operating.dead_letters(queue=QUEUE).letters] == [runs[2].id, runs[0].id]
        assert runs[1].state == "failed"
        runs[1].retry().wait(SOON)  # it fails anew
        assert {entry.run for entry in operating.dead_letters().letters} == {run.id for run in runs}
        with pytest.raises(flows.UnknownRunError):
            operating.drop_dead_letters("0" * 32)

    @needs("operating")
    def test_ended_runs_are_pruned_oldest_first_and_others_never(self, executor: Where) -> None:
        executor, operating = self._both(executor)
        runs = [flows.execute(give(n), executor=executor, key=f"k{n}") for n in range(4)]
        bad = flows.execute(give(failing()().out), executor=executor, check=False)
        operating.pause_queue(QUEUE)
        going = flows.submit(held(1), executor=executor)
        dry = operating.prune(state="completed", limit=2, dry_run=True)
        assert ([run.id for run in dry.runs], dry.more) == ([runs[0].id, runs[1].id], True)
        assert len(ids(operating)) == 6
        assert operating.prune(older_than=3600).runs == []
        assert [run.id for run in operating.prune(state="completed", limit=2).runs] == [runs[0].id, runs[1].id]
        assert [run.id for run in operating.prune(keep=1, state="completed").runs] == [runs[2].id, runs[3].id]
        assert ids(operating) == [going.id, bad.id]
        with pytest.raises(flows.UnknownRunError):
            flows.get(runs[0].id, executor=executor)
        with pytest.raises(flows.ResultExpiredError):  # the key stays taken
            flows.execute(give(0), executor=executor, key="k0")
        assert [run.id for run in operating.prune(keep=0).runs] == [bad.id]
        operating.resume_queue(QUEUE)
        assert going.wait(SOON).value == 1

    @needs("operating")
    def test_the_doctor_finds_an_executor_that_works_fit(self, executor: Where) -> None:
        _, operating = self._both(executor)
        checks = operating.doctor()
        assert checks
        assert not [check for check in checks if check.status == "fail"]
        assert all(check.name and check.found for check in checks)
        assert all(check.remedy for check in checks if check.status == "warn")

    @lacks("operating")
    def test_without_operating_each_verb_is_refused(self, executor: Where) -> None:
        for verb in VERBS:
            with pytest.raises(flows.UnsupportedError):
                operator(executor, verb)  # type: ignore[arg-type]

    @staticmethod
    def _both(executor: Where) -> tuple[Where, Operator]:
        from flows._executors import executor_of

        chosen = executor_of(executor)
        return chosen, operator(chosen)
