"""Conformance: what can be read of a run in words, while it goes on and afterwards."""

from __future__ import annotations

import re
import threading

import flows
from flows.testing._conformance_kit import SOON, Suite, Where, failing, needs
from flows.testing._conformance_results import give

QUEUE = "conformance-readings"


class Readings(Suite):
    """`explain`, `timeline`, `table`, `dead_letters`."""

    def test_a_job_that_waits_says_what_for(self, executor: Where) -> None:
        started, let_go = threading.Event(), threading.Event()

        def hold() -> None:
            started.set()
            let_go.wait(SOON)

        held = flows.task(hold, name="hold", queue=QUEUE)
        root = give.using(id="root")(give.using(id="between")(held().out).out)
        run = flows.submit(root, executor=executor)
        assert started.wait(SOON)
        first, second = run.explain("root").splitlines()
        assert re.fullmatch(
            rf"root waits for hold, which has been running for .+ on queue {QUEUE}: attempt 1/1.*", first
        )
        assert second == "It is held up by way of between."
        assert "3 jobs have ended" in run.explain()
        assert [(row.job, row.state) for row in run.table().rows] == [
            ("hold", "active"),
            ("between", "waiting_children"),
            ("root", "waiting_children"),
        ]
        let_go.set()
        run.wait(SOON)
        assert run.explain("root").startswith("root completed in ")

    @needs("cancel", "delays")
    def test_a_delayed_job_says_when_it_is_due(self, executor: Where) -> None:
        run = flows.submit(give.using(id="late", delay="30d")(1), executor=executor)
        due_at = run.jobs["late"].due_at
        assert due_at is not None
        assert re.match(r"late is delayed: starts in (30 d|29 d 23 h) on queue conformance, ", run.explain("late"))
        run.cancel()
        assert run.wait(SOON).jobs["late"].due_at is None

    @needs("cancel", "delays")
    def test_a_cancelled_job_says_why(self, executor: Where) -> None:
        run = flows.submit(give.using(id="late", delay="30d")(1), executor=executor)
        run.cancel("changed my mind")
        run.wait(SOON)
        assert run.explain("late").splitlines() == ["late was cancelled: changed my mind", "It had not started."]

    def test_what_failed_by_itself_is_a_dead_letter_and_explains_the_rest(self, executor: Where) -> None:
        broken = failing(attempts=2)
        root = give.using(id="root")(give.using(id="between")(broken(7, note="x").out).out)
        run = flows.execute(root, executor=executor, check=False)
        assert run.explain("root").splitlines() == [
            "root failed because broken failed: Oops: broken is broken (attempt 2/2)",
            "Between them: between.",
        ]
        (letter,) = run.dead_letters()
        assert (letter.job, letter.queue, len(letter.attempts)) == ("broken", "conformance", 2)
        assert (letter.data, letter.error.type) == ({"args": [7], "note": "x"}, "Oops")
        assert letter.at == letter.attempts[-1].end
        assert list(run.dead_letters().queues) == ["conformance"]

    def test_the_table_and_the_timeline_tell_jobs_and_attempts(self, executor: Where) -> None:
        ignored = failing(attempts=2)(1).on_failure("ignore")
        run = flows.execute(give.using(id="root")(give.using(id="below")(1).out).after(ignored), executor=executor)
        rows = {
            row.job: (row.state, row.attempts, None if row.error is None else row.error.type)
            for row in run.table().rows
        }
        assert rows == {
            "below": ("completed", 1, None),
            "broken": ("failed", 2, "Oops"),
            "root": ("completed", 1, None),
        }
        timeline = run.timeline()
        assert sorted((row.job, row.attempt) for row in timeline.rows) == [
            ("below", 1), ("broken", 1), ("broken", 2), ("root", 1),
        ]  # fmt: skip
        assert timeline.critical_path[-1] == "root"
        assert all(timeline.start <= row.ready <= row.start for row in timeline.rows)
