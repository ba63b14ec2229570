"""Why a job waits, or why it ended so: the texts, on records that say what is wanted."""

import itertools
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from flows import Failed, Job, Opts
from flows._machine import influence
from flows._state import STATE_NAMES
from tests.flows.naive_run import Dag, dags
from tests.flows.staged import Kind, Staged, attempt

reserve, charge = Kind("reserve", "stock", attempts=5), Kind("charge", "payments", attempts=3)
mail, pack, ship = Kind("mail", "email"), Kind("pack"), Kind("ship")


def order(policy: Any = "ignore") -> Staged:
    packed = pack(reserve.using(id="reserve[3]")())
    return Staged(ship(packed, charge()).after(mail().on_failure(policy)))


def no_answer(job: str = "reserve[3]") -> Failed:
    return Failed("PspTimeout", "no answer\nat all", "", job)


def held_up() -> Staged:
    staged = order("fail")
    staged.say("reserve[3]", "delayed", attempt(1, 1, 2, "failed", no_answer()))
    staged.due["reserve[3]"] = 14
    staged.say("pack", "waiting_children")
    staged.say("ship", "waiting_children")
    return staged


def test_one_job_that_holds_another_up_is_named_with_when_it_goes_on() -> None:
    assert held_up().run.explain("ship").splitlines() == [
        r"ship waits for reserve[3]: attempt 2/5 in 4 s on queue stock, after PspTimeout: no answer\nat all",
        "It is held up by way of pack.",
    ]
    assert held_up().run.explain("pack").splitlines() == [
        r"pack waits for reserve[3]: attempt 2/5 in 4 s on queue stock, after PspTimeout: no answer\nat all",
    ]


def test_several_jobs_that_hold_another_up_are_listed_those_that_run_first() -> None:
    staged = held_up()
    staged.say("mail", "waiting")
    staged.ahead["mail"] = 12
    staged.say("charge", "active", attempt(2, 4))
    staged.progress["charge"] = "half"
    assert staged.run.explain("ship").splitlines() == [
        "ship waits for 3 jobs:",
        "- charge, which has been running for 6 s on queue payments: attempt 2/3 on worker w1, progress half",
        "- reserve[3]: attempt 2/5 in 4 s on queue stock, after PspTimeout: no answer\\nat all (for pack)",
        "- mail, which waits for a worker on queue email, 12 jobs before it",
    ]


def test_very_many_jobs_that_hold_another_up_are_counted() -> None:
    parts = [reserve.using(id=f"reserve[{n}]")() for n in range(60)]
    staged = Staged(ship(*parts, charge()))
    for number in range(50):
        staged.say(f"reserve[{number}]", "waiting")
    staged.say("charge", "waiting")
    staged.say("ship", "waiting_children")
    first, *listed, last = staged.run.explain("ship").splitlines()
    assert (first, len(listed)) == ("ship waits for 51 jobs:", 10)
    assert last == "- and 41 more: 40 waiting on queue stock, 1 waiting on queue payments"


@pytest.mark.parametrize(
    ("policy", "what"),
    [
        ("ignore", "ship runs all the same (policy ignore)."),
        ("remove", "ship runs as if it had never been there (policy remove)."),
        ("continue", "ship runs at once (policy continue)."),
        ("skip", "ship is skipped, once the rest has ended (policy skip)."),
    ],
)
def test_policies_are_told_where_they_matter(policy: Any, what: str) -> None:
    staged = order(policy)
    staged.say("ship", "waiting_children")
    staged.say("charge", "waiting")
    for state, condition in (
        ("waiting", "If mail fails, "),
        ("failed", "mail failed: "),
        ("skipped", "mail was skipped: "),
    ):
        staged.say("mail", state)
        assert staged.run.explain("ship").splitlines()[-1] == condition + what
    staged.say("mail", "completed")
    assert "policy" not in staged.run.explain("ship")


def test_a_job_whose_dependencies_have_just_ended_is_about_to_be_released() -> None:
    staged = order("fail")
    staged.say("ship", "waiting_children")
    assert staged.run.explain("ship") == (
        "ship waits for nothing any more: its dependencies have ended, and it is about to be released"
    )


def test_a_job_says_what_it_waits_for_itself() -> None:
    staged = order()
    staged.say("charge", "delayed")
    staged.due["charge"] = 3_610
    assert staged.run.explain("charge") == "charge is delayed: starts in 1 h on queue payments, after a delay of 0 ms"
    staged.say("charge", "waiting", attempt(1, 1, 2, "lost", Failed("LeaseLostError", "gone", "", "charge")))
    assert staged.run.explain("charge") == (
        "charge waits for a worker on queue payments for attempt 1/3, after LeaseLostError: gone"
    )
    staged.say("charge", "waiting")
    staged.ahead["charge"] = 1
    staged.held["charge"] = "its queue runs 5 jobs and may run no more"
    assert staged.run.explain("charge") == (
        "charge waits for a worker on queue payments, 1 job before it: its queue runs 5 jobs and may run no more"
    )


def test_a_running_job_tells_its_attempts_before() -> None:
    staged = order()
    before = [attempt(n, n, n + 0.2, "failed", no_answer("charge")) for n in range(1, 8)]
    staged.say("charge", "active", *before, attempt(8, 9))
    assert staged.run.explain("charge").splitlines() == [
        "charge has been running for 1 s on queue payments: attempt 8/8 on worker w1",
        "Before that:",
        "- 2 earlier attempts",
        *(rf"- attempt {n}/{n} failed, after 200 ms: PspTimeout: no answer\nat all" for n in range(3, 8)),
    ]


def test_a_failed_job_tells_its_error_and_the_attempts() -> None:
    staged = order()
    declined = Failed("CardDeclined", "no funds", "", "charge")
    first = attempt(1, 1, 2, "failed", no_answer("charge"))
    staged.say("charge", "failed", first, attempt(2, 3, 3.5, "failed", declined), error=declined)
    assert staged.run.explain("charge").splitlines() == [
        "charge failed: CardDeclined: no funds (attempt 2/3, after 500 ms)",
        "It was not tried again: an error like this one gives up.",
        "Before that:",
        r"- attempt 1/3 failed, after 1 s: PspTimeout: no answer\nat all",
    ]


def test_a_job_that_was_failed_by_another_names_the_first_cause_and_the_way() -> None:
    staged = order()
    declined = Failed("JobTimeoutError", "reserve[3]: timeout of 30 s", "", "reserve[3]")
    staged.say("reserve[3]", "failed", attempt(5, 1, 2, "failed", declined), error=declined)
    staged.say("pack", "failed", cause="reserve[3]")
    staged.say("ship", "failed", cause="reserve[3]")
    assert staged.run.explain("ship").splitlines() == [
        "ship failed because reserve[3] failed: JobTimeoutError: timeout of 30 s (attempt 5/5)",
        "Between them: pack.",
    ]
    assert staged.run.explain("pack").splitlines() == [
        "pack failed because reserve[3] failed: JobTimeoutError: timeout of 30 s (attempt 5/5)",
    ]


def test_skipped_jobs_say_who_skipped_them() -> None:
    staged = order()
    staged.say("charge", "skipped", attempt(1, 1, 2, "skipped"), error=Failed("Skip", "paid", "", "charge", "skipped"))
    staged.say("ship", "skipped", cause="charge")
    assert staged.run.explain("charge") == "charge was skipped by its handler: paid"
    assert staged.run.explain("ship") == "ship was skipped because charge was skipped: Skip: paid (attempt 1/3)"


def test_cancelled_jobs_say_why_and_whether_they_had_begun() -> None:
    staged = order()
    error = Failed("RunCancelledError", "timeout", "", "charge", "cancelled")
    staged.say("charge", "cancelled", error=error)
    assert staged.run.explain("charge").splitlines() == ["charge was cancelled: timeout", "It had not started."]
    staged.say("charge", "cancelled", attempt(1, 1, 3, "cancelled"), error=error)
    assert staged.run.explain("charge").splitlines() == [
        "charge was cancelled: timeout",
        "It was running: attempt 1/3 ended after 2 s.",
    ]
    staged.say("charge", "cancelled", attempt(1, 1, 3, "failed", no_answer("charge")), error=error)
    assert staged.run.explain("charge").splitlines() == [
        "charge was cancelled: timeout",
        "It was not running.",
        "Before that:",
        r"- attempt 1/3 failed, after 2 s: PspTimeout: no answer\nat all",
    ]


def test_a_completed_job_says_how_long_it_took_and_what_it_went_without() -> None:
    staged = order()
    staged.say("mail", "failed", error=no_answer("mail"))
    staged.say("ship", "completed", attempt(1, 1, 2.5, "completed"))
    assert staged.run.explain("ship").splitlines() == [
        "ship completed in 1.5 s on queue default: attempt 1/1 on worker w1",
        "It ran without mail, which failed.",
    ]
    assert staged.run.explain("charge") == "charge completed"


def test_without_a_job_the_run_and_its_roots_are_explained() -> None:
    staged = held_up()
    assert staged.run.explain().splitlines() == [
        "run run-1 of ship: running for 10 s, 2 of 5 jobs have ended, 1 delayed",
        r"ship waits for reserve[3]: attempt 2/5 in 4 s on queue stock, after PspTimeout: no answer\nat all",
        "It is held up by way of pack.",
    ]
    done = Staged(flows.Flow("many", tuple(mail.using(id=f"m{n}")() for n in range(7)), several=True), ended=4.5)
    assert done.run.explain().splitlines() == [
        "run run-1 of many: completed after 4.5 s", *(f"m{n} completed" for n in range(5)), "... and 2 more roots",
    ]  # fmt: skip


def test_a_job_is_named_by_id_object_or_view_and_an_unknown_one_is_a_key_error() -> None:
    root = mail()
    run: Any = Staged(root).run
    assert run.explain(root) == run.explain("mail") == run.explain(run.jobs["mail"]) == "mail completed"
    with pytest.raises(KeyError, match="no job 'x'"):
        run.explain("x")


def staged_dag(dag: Dag, states: list[str]) -> Staged:
    jobs: list[Job[Any]] = []
    for number, policy in enumerate(dag.policies):
        edges = dag.into(number)
        children = [jobs[edge.child] for edge in edges if edge.kind != "order"]
        job = Job(f"task-{number}", id=f"job-{number}", children=children, opts=Opts(on_failure=policy))  # type: ignore[arg-type]
        jobs.append(job.after(*[jobs[edge.child] for edge in edges if edge.kind == "order"]))
    staged = Staged(flows.Flow("any", tuple(jobs), several=True))
    for number, state in enumerate(states):
        staged.say(f"job-{number}", state)
    return staged


@given(st.data(), dags())
def test_whatever_the_states_the_jobs_told_are_those_that_hold_it_up(data: st.DataObject, dag: Dag) -> None:
    # Not only states that can come about: a reading is no transaction, and sees jobs at different moments.
    states = data.draw(st.lists(st.sampled_from(STATE_NAMES), min_size=dag.size, max_size=dag.size))
    staged = staged_dag(dag, states)
    below: list[set[int]] = []
    for number in range(dag.size):
        children = {edge.child for edge in dag.into(number)}
        below.append(children.union(*(below[child] for child in children)))
    for number, state in enumerate(states):
        told = staged.run.explain(f"job-{number}").splitlines()
        named = {int(name) for name in re.findall(r"job-(\d+)", "\n".join(told))}
        assert named <= below[number] | {number}
        if state == "waiting_children":
            holders = {
                int(name) for text in told for name in re.findall(r"^(?:- |job-\d+ waits for )job-(\d+)[,:]", text)
            }
            assert holders == holding(dag, states, number)
    assert staged.run.explain().startswith("run run-1 of any: ")


def holding(dag: Dag, states: list[str], number: int) -> set[int]:
    """By the definition: open jobs below that themselves wait for nothing open; at most the ten that are listed."""
    found: set[int] = set()
    for child in {edge.child for edge in dag.into(number)}:
        if states[child] == "waiting_children":
            found |= holding(dag, states, child) or {child}
        elif states[child] in ("waiting", "delayed", "active"):
            found.add(child)
    return found


@given(dags(), st.data())
def test_the_way_of_a_failure_leads_over_edges_that_pass_it_on(dag: Dag, data: st.DataObject) -> None:
    staged = staged_dag(dag, ["failed"] * dag.size)
    first = data.draw(st.integers(0, dag.size - 1))
    doomed = data.draw(st.integers(0, dag.size - 1))
    staged.say(f"job-{doomed}", "failed", cause=f"job-{first}")
    told = staged.run.explain(f"job-{doomed}")
    if first != doomed:
        assert told.startswith(f"job-{doomed} failed because job-{first} failed")
        way = [first, *map(int, re.findall(r"job-(\d+)", told.partition("Between them:")[2])), doomed]
        edges = staged.plan.edges()
        ids = staged.plan.ids
        if len(way) > 2:
            for lower, upper in itertools.pairwise(way):
                pair = (ids.index(f"job-{lower}"), ids.index(f"job-{upper}"))
                assert any(edge[:2] == pair and influence(5, edge[2]) for edge in edges)
