"""Flows of a shape that was written before: filled in, they are what they would be if they were written anew."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

import flows
from executors._stored import Header, Limits, Packed, pack
from flows import DataError, Job, Opts, Queue
from flows.executor import RunOptions

BUSY = Queue("blanks-busy", concurrency=3)


@flows.task(name="blanks-take", queue="blanks")
def take(*given: Any, **more: Any) -> Any:
    return given, more


@flows.task(name="blanks-other", queue=BUSY, attempts=3, backoff=flows.Backoff.fixed("2s"))
def other(*given: Any, **more: Any) -> Any:
    return given, more


def several(data: Any) -> flows.Flow[Any]:
    @flows.flow(name="blanks-several")
    def roots() -> Any:
        one = take(data)
        return one, other(one.out)

    return roots()


def ordered(data: Any) -> Any:
    return take(data).after(take(data), other(data))


def shared(data: Any) -> Any:
    one = take(data)
    return other(take(one.out, one.out).out, one.out)


SHAPES: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda data: take(),
    "text": lambda data: take(f"text {data} \u00e9 $"),
    "long": lambda data: take("x" * (40 + 7 * data)),
    "keywords": lambda data: take(1, number=data, nested={"a": [data, None, 1.5], "$flows": 1}),
    "chain": lambda data: other(take(take(data).out).out),
    "list": lambda data: take([take(data).out, other(data).out]),
    "tuple": lambda data: take((take(data).out, other(data).out)),
    "list or tuple": lambda data: take([take(data).out] if data % 2 else (take(data).out,)),
    "list or not": lambda data: take([take(data).out] if data % 2 else take(data).out),
    "mixed": lambda data: take(take(data).out, data, more=[other(data).out, {"data": data}]),
    "parts": lambda data: take(take(data).out.field, other(data).out[data]),
    "optional": lambda data: take(flows.optional(take(data).out), other(data).out),
    "policies": lambda data: take(take(data).on_failure("skip").out).after(other(data).on_failure("ignore")),
    "ordered": ordered,
    "shared": shared,
    "several": several,
    "ids": lambda data: take.using(id="the root", priority=3)(other.using(id=f"leaf {data % 2}")(data).out),
}

CHANGES: tuple[dict[str, Any], ...] = (
    {},
    {"key": 'a "key"'},
    {"timeout": 5.0, "carrier": {"traceparent": "00", "v": "1"}},
    {"keep_count": 2, "fail_fast": True},
    {"keep": 1.0, "key_ttl": 2.0},
)


def options(number: int) -> RunOptions:
    return RunOptions(f"run {number}", **{"key": None, "trace_id": f"{number:032x}", **CHANGES[number % len(CHANGES)]})


def anew(plan: flows.Plan[Any], given: RunOptions) -> Packed:
    """What is written of a plan that nothing is known about."""
    known, plan._traits = plan._traits, None
    try:
        return pack(plan, given)
    finally:
        plan._traits = known


def written(packed: Packed) -> tuple[Any, ...]:
    shape = dataclasses.asdict(packed.shape)
    return packed.header, packed.rows, shape, packed.bodies, packed.limits, packed.name, packed.fingerprint


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_filled_in_is_what_would_be_written(name: str) -> None:
    filled = 0
    for number in range(24):
        plan = flows.plan(SHAPES[name](number))
        packed = pack(plan, options(number))
        assert written(packed) == written(anew(plan, options(number))), number
        assert packed.options == options(number)
        filled += bool(packed.kept is not None and number >= 10)
    assert filled == (0 if name in ("ids", "policies") else 14), "jobs with options of their own are of no known shape"


def test_what_a_store_keeps_belongs_to_shape_name_and_options() -> None:
    packs = [pack(flows.plan(take(number)), options(2 * (number % 2))) for number in range(8)]
    assert packs[4].kept is packs[6].kept is not None
    assert packs[5].kept is packs[7].kept is not None
    assert packs[4].kept is not packs[5].kept
    assert pack(flows.plan(take(take(1).out)), options(0)).kept is not packs[4].kept


def test_options_of_all_kinds_leave_a_bounded_number_behind() -> None:
    plan = flows.plan(take(1))
    for number in range(100):
        pack(flows.plan(take(number)), RunOptions("run", None, "0" * 32, timeout=float(number)))
    traits = flows.plan(take(1))._traits
    assert traits is not None
    assert 0 < len(traits.written.variants) <= 16
    assert plan._traits is None or plan._traits is traits


def test_a_shape_keeps_neither_plans_nor_data() -> None:
    import gc
    import weakref

    for number in range(3):
        pack(flows.plan(take(number)), options(0))
    plan = flows.plan(take(7))
    pack(plan, options(0))
    gone = weakref.ref(plan)
    del plan
    gc.collect()
    assert gone() is None


def test_data_that_is_wrong_is_told_with_its_job_all_of_it() -> None:
    for number in range(4):
        pack(flows.plan(take(take(number).out, take(number).out)), options(0))
    wrong = flows.plan(take(take(object()).out, take({1: 2}).out))
    with pytest.raises(flows.DefinitionError) as filled:
        pack(wrong, options(0))
    with pytest.raises(flows.DefinitionError) as told:
        anew(wrong, options(0))
    assert str(filled.value) == str(told.value)
    assert "blanks-take#2" in str(told.value) or "blanks-take#3" in str(told.value)
    with pytest.raises(DataError, match="more than the"):
        pack(flows.plan(take(take("x" * 2000).out, take(1).out)), options(0), Limits(data=1000))
    with pytest.raises(flows.DefinitionError, match="at most 2"):
        pack(flows.plan(take(take(1).out, take(1).out)), options(0), Limits(jobs=2))


def test_options_of_a_job_are_part_of_its_shape() -> None:
    def packed(number: int, attempts: int) -> Packed:
        return pack(flows.plan(Job("blanks-take", queue="blanks", opts=Opts(attempts=attempts))), options(number))

    for number in range(6):
        assert list(packed(number, 1 + number % 2).shape.attempts) == [1 + number % 2]


def test_headers_share_what_they_have_in_common() -> None:
    one, two = (Header(pack(flows.plan(take(number)), options(0)).header) for number in range(2))
    assert one.kinds is two.kinds
    traced = dataclasses.replace(options(1), carrier={"v": "1", ',"v":1,': ',"v":1,'})
    header = Header(pack(flows.plan(take(1)), traced).header)
    assert (header.options, header.id, header.key) == (traced, traced.run_id, traced.key)
