"""Jobs: what may be given to one, and what it refuses to be taken for."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

import flows
from flows import Job, Opts, Queue
from flows.errors import DefinitionError

give = flows.task(lambda value=None: value, name="job-give")


@pytest.mark.parametrize(
    ("operation", "hint"),
    [
        (bool, "job.out"),
        (lambda job: job and 1, "job.out"),
        (lambda job: not job, "job.out"),
        (len, "job.out"),
        (iter, "job.out"),
        (lambda job: [*job], "job.out"),
        (lambda job: {**job}, ""),
    ],
    ids=range(7),
)
def test_a_job_is_no_value(operation: Callable[[Any], object], hint: str) -> None:
    with pytest.raises(TypeError) as caught:
        operation(give())
    assert hint in str(caught.value)


def test_jobs_compare_by_identity() -> None:
    one, other = give(1), give(1)
    same = one
    assert one == same
    assert one != other
    assert len({one, other, same}) == 2


def test_the_given_id_is_the_id_and_without_one_there_is_none() -> None:
    assert (Job("a", id="x").id, Job("a").id, give.using(id="y")().id, give().id) == ("x", None, "y", None)
    assert (repr(Job("a")), repr(Job("a", id="x"))) == ("Job('a')", "Job('a', id='x')")


def test_after_adds_order_only_edges_and_gives_the_job_back() -> None:
    job, first, second = give(), give(), give()
    assert job.after(first).after(second) is job
    assert (job.predecessors, job.children, job.after()) == ((first, second), (), job)


def test_on_failure_changes_the_policy_and_keeps_the_other_options() -> None:
    job = Job("a", opts=Opts(attempts=3, on_failure="skip"))
    assert job.on_failure("ignore") is job
    assert job.opts == Opts(attempts=3, on_failure="ignore")


def test_on_failure_changes_this_job_alone() -> None:
    careful = give.using(attempts=2)
    first, second = careful(1).on_failure("remove"), careful(2)
    assert (first.opts, second.opts) == (Opts(attempts=2, on_failure="remove"), Opts(attempts=2))


def test_data_is_copied_when_it_is_given() -> None:
    data = {"a": 1}
    job = Job("a", data=data)
    data["b"] = 2
    assert job.kwargs == {"a": 1}


def test_children_may_come_from_any_iterable_of_jobs() -> None:
    first, second = Job("b"), Job("c")
    assert Job("a", children=(job for job in (first, second))).children == (first, second)
    assert Job("a", children={first: 1}).children == (first,)


def test_a_queue_may_be_a_name_or_a_queue() -> None:
    mail = Queue("mail", attempts=2)
    assert (Job("a", queue="mail").queue, Job("a", queue=mail).queue, Job("a").queue) == ("mail", mail, None)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": ""}, "job name '': is empty"),
        ({"name": None}, "job name None: is of type NoneType"),
        ({"name": "a\nb"}, "U+000A"),
        ({"name": "x" * 129}, "129 characters"),
        ({"name": "a", "id": ""}, "job id '': is empty"),
        ({"name": "a", "id": 7}, "job id 7: is of type int"),
        ({"name": "a", "queue": ""}, "queue '': is empty"),
        ({"name": "a", "queue": "b c"}, "space U+0020 at position 1"),
        ({"name": "a", "queue": 3}, "queue 3: is of type int"),
        ({"name": "a", "data": [1]}, "job 'a': data must be a mapping"),
        ({"name": "a", "data": "{}"}, "job 'a': data must be a mapping"),
        ({"name": "a", "data": {1: 2}}, "job 'a': data has the key 1"),
        ({"name": "a", "data": {None: 2}}, "job 'a': data has the key None"),
        ({"name": "a", "id": "x", "children": "bc"}, "job 'x': children takes jobs, not 'b'"),
        ({"name": "a", "children": Job("b")}, "job 'a': children takes jobs in a list, not Job('b')"),
        ({"name": "a", "children": None}, "job 'a': children takes jobs in a list, not None"),
        ({"name": "a", "children": [Job]}, "job 'a': children takes jobs, not <class"),
        ({"name": "a", "children": [give().out]}, "job 'a': children takes jobs, not <job-give.out>"),
        ({"name": "a", "opts": {"attempts": 3}}, "job 'a': opts must be flows.Opts(...), not {'attempts': 3}"),
    ],
)
def test_what_does_not_fit_is_refused_where_it_is_given(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        Job(**arguments)
    assert said in str(caught.value)


@pytest.mark.parametrize("given", [None, "b", give().out, [Job("b")], 42])
def test_after_takes_jobs_only(given: Any) -> None:
    with pytest.raises(DefinitionError, match=r"job 'a': after\(\) takes jobs, not"):
        Job("a").after(given)


@pytest.mark.parametrize("given", ["ignored", "", None, 1, "FAIL"])
def test_on_failure_takes_a_policy_only(given: Any) -> None:
    with pytest.raises(DefinitionError, match="on_failure"):
        Job("a").on_failure(given)


def test_reaching_into_a_job_hints_at_its_result() -> None:
    job = flows.Job("load")
    with pytest.raises(TypeError, match=r"job\.out\[0\]"):
        job[0]  # type: ignore[index]
    with pytest.raises(AttributeError, match=r"job\.out\.items"):
        _ = job.items  # type: ignore[attr-defined]
    assert copy.copy(job) is not job
