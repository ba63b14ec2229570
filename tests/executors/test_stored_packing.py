"""Flows as stores keep them: nothing of a plan is lost, and what cannot be kept is refused before it is stored."""

import dataclasses
import random
from collections.abc import Callable
from typing import Any

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st

import flows
from executors._stored import SHARES, Header, Headers, Limits, check_handlers, pack, rows_from
from executors._stored._rows import rows_from as rows_of
from executors._stored._unpacking import unpack
from flows import Backoff, DataError, DefinitionError, Job, Opts, Plan, Queue, UnknownTaskError, UnsupportedError
from flows._binding import Arguments
from flows.executor import RunOptions
from tests.executors import scripted
from tests.executors.scripted import random_dag, random_scripts
from tests.flows.naive_lists import flow_of, scopes

OPTIONS = RunOptions("run", "the key", "0" * 32, timeout=5.0, keep_count=3, carrier={"traceparent": "x"})


def unpacked(plan: Plan[Any]) -> Plan[Any]:
    packed = pack(plan, OPTIONS)
    return unpack(Header(packed.header), rows_from(packed.rows))


def shown(value: Any) -> Any:
    """Bindings and the like, tuples as the lists that JSON makes of them."""
    if isinstance(value, Arguments):
        return [shown(list(value.args)), shown(dict(value.kwargs)), value.by_name]
    if isinstance(value, scripted.Script):
        return dataclasses.asdict(value)
    if isinstance(value, dict):
        return {key: shown(item) for key, item in value.items()}
    return [shown(item) for item in value] if isinstance(value, list | tuple) else value


def check_equal(one: Plan[Any], other: Plan[Any]) -> None:
    columns = ("names", "ids", "queues_of", "settings", "inputs", "pending", "effects", "optional", "roots", "several")
    for column in columns:
        assert getattr(one, column) == getattr(other, column), column
    assert [list(edges) for edges in one.dependents] == [list(edges) for edges in other.dependents]
    assert shown(one.bindings) == shown(other.bindings)
    assert shown(one.conditions) == shown(other.conditions)
    assert one.lists.keys() == other.lists.keys()
    for job, body in one.lists.items():
        twin = other.lists[job]
        assert (body.root, body.limit, list(body.names)) == (twin.root, twin.limit, list(twin.names))
        assert (list(body.links), list(body.outer)) == (list(twin.links), list(twin.outer))
        check_equal(body.plan, twin.plan)


@given(scopes())
def test_plans_with_lists_and_conditions_come_back(steps: Any) -> None:
    plan = flows.plan(flow_of(steps))
    check_equal(unpacked(plan), plan)


@given(st.integers(0, 2**32))
def test_plans_with_policies_and_options_come_back(seed: int) -> None:
    rng = random.Random(seed)
    dag = random_dag(rng)
    plan = flows.plan(scripted.flow_of(dag, random_scripts(rng, dag.size)))
    check_equal(unpacked(plan), plan)


@flows.task(name="packed", queue=Queue("packing", concurrency=3, rate="5/s"))
def packed_task(first: Any, /, *rest: Any, **more: Any) -> Any:
    return [first, *rest]


@flows.flow
def crowd() -> Any:
    one = packed_task({"a": [1, 2.5, None, "ß"], "$flows:pick": 1})
    two = packed_task(one.out.a[0]["$flows"], one, [one.out, one.out], x={"y": (flows.optional(one.out.z), 3)})
    return packed_task([one.out, two.out]), packed_task(*[two.out] * 3).after(one)


def test_a_fingerprint_is_that_of_the_plan_also_without_being_stored() -> None:
    plan = flows.plan(crowd())
    again = unpacked(plan)
    assert again.fingerprint == plan.fingerprint
    again._fingerprint = None
    assert again.fingerprint == plan.fingerprint
    assert again.limits == plan.limits == {"packing": (3, (5, 1.0))}


def test_the_header_has_the_options_of_the_run() -> None:
    plan = flows.plan(crowd())
    header = Header(pack(plan, OPTIONS).header)
    assert header.options == OPTIONS
    assert (header.name, header.fingerprint, header.size) == ("crowd", plan.fingerprint, len(plan))
    assert pack(plan, RunOptions("run", None, "")).fingerprint == ""  # nobody will compare it


def test_another_form_is_refused_with_both_versions() -> None:
    payload = pack(flows.plan(crowd()), OPTIONS).header.replace(b'"v":1', b'"v":2')
    with pytest.raises(UnsupportedError, match=r"run run is stored in form 2, and this .* reads form 1"):
        Header(payload)


def test_the_last_headers_are_kept() -> None:
    loads: list[str] = []
    payload = pack(flows.plan(crowd()), OPTIONS).header

    def load(name: str) -> bytes:
        loads.append(name)
        return payload

    headers = Headers(load, kept=2)
    for name in ("a", "b", "a", "c", "a", "b"):
        assert headers[name].id == "run"
    assert loads == ["a", "b", "c", "b"]
    assert headers.get("c") is None
    headers.drop("a")
    assert headers.get("a") is None


def test_what_a_machine_needs() -> None:
    quick = packed_task.using(priority=3, delay="1.5s", lifo=True, attempts=4, idempotency_key="k", queue="other")
    first = quick(1)
    shape = pack(flows.plan(packed_task(first.out)), OPTIONS).shape
    assert [shape.queues[queue] for queue in shape.queue] == ["other", "packing"]
    assert (shape.priority, shape.lifo, shape.delay_ms) == ([3, 0], [1, 0], [1500, 0])
    assert (shape.attempts, shape.flags, shape.pending) == ([4, 1], [SHARES, 0], [0, 1])
    assert ([list(edges) for edges in shape.edges], shape.inputs) == ([[1], []], [(), (0,)])


# Options


class Odd(Exception):
    """Worth another try."""


def of_job(**options: Any) -> flows.Job[Any]:
    return packed_task.using(id="the job", **options)(1)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: of_job(retry_on=Odd), "retry_on"),
        (lambda: of_job(give_up_on=Odd), "give_up_on"),
        (lambda: of_job(backoff=Backoff.custom(lambda *_: 1)), r"backoff=Backoff\.custom\(\.\.\.\)"),
        (lambda: of_job(backoff=tenacity.wait_fixed(1)), r"backoff \(of tenacity\)"),
        (lambda: of_job(retry=tenacity.Retrying()), "retry"),
        (lambda: Job("elsewhere", id="the job", opts=Opts(retry_on=Odd)), "retry_on"),
        (lambda: flows.each(packed_task.using(id="the job", retry_on=Odd), [1]), "retry_on"),
    ],
    ids=["retry_on", "give_up_on", "custom", "wait", "retry", "literal", "in a list"],
)
def test_code_is_refused_on_a_job(make: Callable[[], Any], name: str) -> None:
    with pytest.raises(DefinitionError, match=f"job 'the job': the option {name} is code"):
        pack(flows.plan(make()), OPTIONS)


WAIT = Backoff.custom(lambda *_: 7)
RETRY = tenacity.Retrying(stop=tenacity.stop_after_attempt(4), wait=tenacity.wait_fixed(1))


@flows.task(queue=Queue("coded", give_up_on=KeyError, timeout=9), retry_on=Odd, backoff=WAIT, attempts=5)
def coded(value: int) -> int:
    return value


@flows.task(queue="coded", retry=RETRY)
def steered(value: int) -> int:
    return value


@pytest.mark.parametrize(
    "task",
    [coded, coded.using(attempts=2), coded.using(backoff=Backoff.fixed(1)), steered],
    ids=["all", "attempts", "backoff", "tenacity"],
)
def test_code_of_a_task_is_the_workers(task: Any) -> None:
    plan = flows.plan(task(1))
    assert unpacked(plan).settings == plan.settings
    again = unpacked(flows.plan(steered.using(attempts=9)(1))).settings[0]
    assert (again.attempts, again.retry) == (9, RETRY)
    assert again.retry_parts == {"wait", "retry"}


def test_what_the_producer_does_not_know_is_the_workers_to_say() -> None:
    opts = Opts(timeout=2, priority=5, backoff=Backoff.steps([1, 2]))
    packed = pack(flows.plan(Job("later", queue=Queue("elsewhere", attempts=6, lifo=True), opts=opts)), OPTIONS)
    assert packed.shape.attempts == [0]
    unknown = unpack(Header(packed.header), rows_of(packed.rows)).settings[0]
    assert (unknown.attempts, unknown.timeout, unknown.lifo, unknown.priority) == (6, 2.0, True, 5)

    @flows.task(name="later", queue="elsewhere", attempts=3, timeout=8, retry_on=Odd, priority=1, delay=4)
    def later() -> None: ...

    known = unpack(Header(packed.header), rows_of(packed.rows)).settings[0]
    assert (known.attempts, known.timeout, known.retry_on) == (3, 2.0, (Odd,))
    assert (known.lifo, known.priority, known.delay) == (True, 5, 0.0)  # these have had their effect
    assert known.backoff == Backoff.steps([1, 2])
    assert pack(flows.plan(Job("later", queue="elsewhere")), OPTIONS).shape.attempts == [3]


# Data


def test_data_that_is_too_large_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"job 'packed': data: 1\.953 KiB of JSON are more than the 1 KiB"):
        pack(flows.plan(packed_task("x" * 1990)), OPTIONS, Limits(data=1024))
    many = [packed_task(number).out for number in range(500)]
    pack(flows.plan(packed_task(many, [*many, "x" * 500], many=many)), OPTIONS, Limits(data=1024))  # not the user's


def test_a_flow_of_too_many_jobs_is_refused() -> None:
    flow = packed_task([packed_task(number).out for number in range(5)])
    with pytest.raises(DefinitionError, match=r"has 6 jobs, and at most 5 are taken; .*max_jobs"):
        pack(flows.plan(flow), OPTIONS, Limits(jobs=5))


def test_hard_limits() -> None:
    with pytest.raises(DefinitionError, match="2 MiB"):
        Limits(result=2 * 1024 * 1024 + 1)


@flows.task(name="strict", queue="packing")
def strict(number: int, names: list[str] = []) -> int:  # noqa: B006
    return number


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({"number": "no"}, r"job 'strict': data\.number: .*integer"),
        ({"number": 1, "names": [3]}, r"job 'strict': data\.names\[0\]"),
        ({"number": 1, "other": 2}, "'other', which is no parameter"),
        ({}, "lacks 'number'"),
        ({"number": 1, "names": [float("nan")]}, "names"),
    ],
)
def test_data_of_literals_is_checked_where_the_handler_is_known(data: dict[str, Any], why: str) -> None:
    with pytest.raises(DefinitionError, match=why):
        pack(flows.plan(Job("strict", queue="packing", data=data)), OPTIONS)


def test_all_that_is_wrong_with_data_is_said_at_once() -> None:
    jobs = [packed_task.using(id=f"job {number}")(object()) for number in range(3)]
    with pytest.raises(DataError) as caught:
        pack(flows.plan(packed_task(jobs)), OPTIONS)
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["job 'job 0'", "job 'job 1'", "job 'job 2'"]


# Handlers


def test_a_job_whose_task_has_been_replaced_is_refused_where_it_would_run_here() -> None:
    def make(number: int) -> Any:
        @flows.task(name="made", queue="packing")
        def made() -> int:
            return number

        return made

    first = make(1)
    job = first()
    check_handlers(flows.plan(job))
    check_handlers(flows.plan(flows.each(lambda _: first.using(attempts=2)(), [1])))
    make(2)
    with pytest.raises(DefinitionError, match="job 'made': its task 'made' has been defined again"):
        check_handlers(flows.plan(job))
    with pytest.raises(DefinitionError, match="defined again"):
        check_handlers(flows.plan(flows.each(lambda _: first(), [1])))
    with pytest.raises(UnknownTaskError, match="no task named 'nowhere'"):
        check_handlers(flows.plan(Job("nowhere")))
