"""`when`: what may be a condition, when it is judged, what follows from it."""

from typing import Any

import pytest

import flows
from flows import DefinitionError, Job, each, optional, when
from tests.case_ids import shown


@flows.task(queue="when")
def give(value: Any = None) -> Any:
    return value


@flows.task(queue="when")
def fail() -> Any:
    raise ValueError("broken")


def run(flow: Any, **options: Any) -> flows.Run[Any]:
    return flows.execute(flow, executor="memory://?private=1", **options)


@pytest.mark.parametrize("condition", [None, 1, 0, "yes", [], [True], {"a": 1}, lambda: True], ids=shown)
def test_conditions_of_wrong_kinds_are_refused(condition: Any) -> None:
    with pytest.raises(DefinitionError, match=r"when\(\): the condition is a bool or a reference"):
        when(condition, give())


def test_an_optional_condition_is_refused() -> None:
    with pytest.raises(DefinitionError, match="may have no value to judge"):
        when(optional(give(1).out), give())


@pytest.mark.parametrize("job", [None, 3, give, lambda: give()], ids=["none", "number", "task", "function"])
def test_only_jobs_can_have_conditions(job: Any) -> None:
    with pytest.raises(DefinitionError, match=r"when\(\) takes a condition and a job"):
        when(True, job)


def test_a_reference_is_no_job() -> None:
    with pytest.raises(DefinitionError, match=r"when\(\) takes a condition and a job"):
        when(True, give().out)


@pytest.mark.parametrize("policy", ["ignore", "continue", "remove"])
def test_a_condition_that_may_be_missing_is_refused(policy: Any) -> None:
    with pytest.raises(DefinitionError, match="its condition takes the result of 'fail'"):
        flows.plan(when(fail().on_failure(policy).out, give()))


def test_a_condition_beside_a_dependency_that_releases_early_is_refused() -> None:
    with pytest.raises(DefinitionError, match="its condition"):
        flows.plan(when(give(1).out, give().after(fail().on_failure("continue"))))


def test_it_gives_back_the_job_itself() -> None:
    job = give(1)
    assert when(True, job) is job


def test_documents_cannot_hold_conditions() -> None:
    with pytest.raises(DefinitionError, match="when"):
        flows.flow(lambda: when(True, give(1)), name="conditional")().to_dict()


def test_fingerprints_tell_conditions_apart() -> None:
    def build(path: str | None) -> str:
        check = give({"a": 1, "b": 0})
        return flows.plan(give().after(check) if path is None else when(check.out[path], give())).fingerprint

    assert build("a") == build("a")
    assert len({build("a"), build("b"), build(None)}) == 3


@pytest.mark.parametrize("policy", ["fail", "skip"])
def test_a_condition_that_failed_decides_by_its_policy(policy: Any) -> None:
    job = when(fail().on_failure(policy).out, give(1))
    assert run(job, check=False).jobs[job].state == {"fail": "failed", "skip": "skipped"}[policy]


def test_a_condition_that_was_skipped_skips() -> None:
    first = when(False, give.using(id="first")(True))
    assert run(when(first.out, give(1))).jobs["give"].state == "skipped"


@pytest.mark.parametrize("condition", [True, False])
def test_a_bare_job_stands_for_its_result(condition: bool) -> None:
    job = when(give.using(id="check")(condition), give(1))
    assert run(job).jobs[job].state == ("completed" if condition else "skipped")


def test_a_part_that_is_not_there_fails_the_job_and_names_the_path() -> None:
    job = when(give.using(id="check")({"a": {}}).out["a"]["b"], give(1))
    error = run(job, check=False).jobs[job].error
    assert error is not None
    assert error.type == "DataError"
    assert ".a.b" in error.message


def test_the_reason_names_the_condition() -> None:
    job = when(give.using(id="check")({"a": 0}).out["a"], give(1))
    assert "check.out.a" in str(run(job).jobs[job].error)
    assert run(job).jobs[job].state == "skipped"


def test_a_condition_is_judged_when_all_that_the_job_depends_on_has_ended() -> None:
    seen: list[str] = []

    class Judged:
        def __bool__(self) -> bool:
            seen.append("judged")
            return True

    slow = flows.task(lambda: seen.append("slow"), name="slow")()
    run(when(give.using(id="check")(None).after(slow).out, give(1)))
    job = when(flows.task(lambda: Judged(), name="make")().out, flows.task(lambda: seen.append("ran"), name="ran")())
    run(job.after(slow))
    assert seen == ["slow", "slow", "judged", "ran"]


def test_judging_costs_no_attempt_and_a_delay_counts_from_then() -> None:
    job = when(give.using(id="check")(1).out, give.using(delay="30ms")(1))
    result = run(job)
    (attempt,) = result.jobs[job].attempts
    check = result.jobs["check"].attempts[0]
    assert check.end is not None
    assert (attempt.start - check.end).total_seconds() >= 0.03
    assert [event.kind for event in result.events() if event.job == "give"] == ["started", "completed"]


def test_several_conditions_must_all_hold() -> None:
    yes, no = give.using(id="yes")(1), give.using(id="no")(0)
    for first, second, state in ((yes, yes, "completed"), (yes, no, "skipped"), (no, yes, "skipped")):
        job = when(first.out, when(second.out, give(1)))
        assert run(job).jobs[job].state == state


def test_dependents_of_a_skipped_job() -> None:
    def skipped(policy: Any = "fail") -> Job[Any]:
        return when(False, give.using(id="maybe")(1)).on_failure(policy)

    assert run(give([skipped().out])).jobs["give"].state == "skipped"
    assert run(give([skipped("ignore").out])).value == []
    assert run(give([skipped("remove").out])).value == []
    assert run(give([optional(skipped().out)])).value[0].state == "skipped"
    assert run(give(2).after(skipped())).value == 2


def test_conditions_inside_bodies_take_items_and_jobs_around() -> None:
    limit = give.using(id="limit")({"on": True, "off": False})
    listed = each(lambda n: when(limit.out["on"], when(n, give(n))).on_failure("remove"), [0, 1, 2])
    result = run(listed)
    assert result.value == [1, 2]
    assert [result.jobs[f"give[{n}]"].state for n in range(3)] == ["skipped", "completed", "completed"]
    assert run(each(lambda n: when(limit.out["off"], give(n)).on_failure("remove"), [0, 1])).value == []
    assert run(
        each(lambda n: when(n["on"], give(n["n"])).on_failure("remove"), [{"on": 0, "n": 1}, {"on": 1, "n": 2}])
    ).value == [2]


def test_a_list_of_a_condition_that_does_not_hold_is_not_looked_at() -> None:
    listed = when(give.using(id="check")(0).out, each(give, give.using(id="rows")("no list").out))
    assert run(listed).jobs[listed].state == "skipped"


def test_conditions_on_lists() -> None:
    rows = each(lambda n: give.using(id="row")(n), give.using(id="source")([]).out)
    job = when(rows.out, give(1))
    assert run(job).jobs[job].state == "skipped"
