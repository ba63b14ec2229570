"""The short way of a plain call comes to what the long one comes to."""

from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any

import pytest

import flows
from executors._stored import Header, Input, brief, pack, writing, writing_quickly
from executors._stored._rows import ListRow, row_from
from flows._handlers import perform
from flows._state import COMPLETED, FAILED
from flows._verbs import Grant, Settle
from flows.executor import RunOptions


@flows.task(name="quick-one")
def one() -> int:
    return 1


@flows.task(name="quick-listed")
def listed(values: list[int]) -> list[int]:
    return [*values, len(values)]


@flows.task(name="quick-tupled")
def tupled(values: Any) -> str:
    return f"{type(values).__name__} {values}"


@flows.task(name="quick-both")
def both(first: int, values: list[int]) -> int:
    return first + sum(values)


def settles(flow: Any, payloads: Sequence[bytes | None], state: int = COMPLETED) -> list[Settle]:
    """How the last job of a flow ends whose children have left these, by both ways."""
    packed = pack(flows.plan(flow), RunOptions("r", None, ""))
    job = packed.shape.size - 1
    children = packed.shape.inputs[job]
    found = []
    for way in (writing, writing_quickly):
        inputs = [Input(child, state, payload) for child, payload in zip(children, payloads, strict=True)]
        made: Any = brief(Header(packed.header), job, packed.rows[job], inputs)
        found.append(Context().run(way(perform), Grant(made, job, 1, 1), lambda: 0.0))
    return found


def three(task: Callable[..., Any], kind: type = list) -> Any:
    return task(kind([one().out, one().out, one().out]))


@pytest.mark.parametrize(
    ("flow", "payloads"),
    [
        (lambda: three(listed), [b"1", b"2", b"3"]),
        (lambda: three(listed), [b"1", b'"2"', b"3"]),
        (lambda: three(listed), [b"1", b'"two"', b"3"]),
        (lambda: three(tupled), [b"", b"[1]", b'{"a":1}']),
        (lambda: three(tupled, tuple), [b"1", b"2", b"null"]),
        (lambda: both(one().out, [one().out, one().out]), [b"1", b"2", b"3"]),
    ],
)
def test_a_list_of_results_is_the_argument(flow: Callable[[], Any], payloads: list[bytes]) -> None:
    slowly, quickly = settles(flow(), payloads)
    assert (slowly.end, slowly.value) == (quickly.end, quickly.value)


def test_a_result_may_stand_in_a_list_twice() -> None:
    child = one()
    slowly, quickly = settles(listed([child.out, child.out]), [b"4"])
    assert slowly.value == quickly.value == b"[4,4,2]"


def test_what_has_failed_is_told_by_the_long_way() -> None:
    child = one().on_failure("remove")
    slowly, quickly = settles(
        listed([child.out]), [b'{"type":"E","message":"","traceback":"","job":"x","state":"failed"}'], FAILED
    )
    assert slowly.value == quickly.value == b"[0]"


def test_a_row_without_data_is_read_once() -> None:
    row = pack(flows.plan(three(listed)), RunOptions("r", None, "")).rows[-1]
    assert isinstance(row_from(row), ListRow)
    assert row_from(row) is row_from(bytes(bytearray(row)))
    with_data = pack(flows.plan(both(1, [one().out])), RunOptions("r", None, "")).rows[-1]
    assert row_from(with_data) is not row_from(with_data)


def test_a_header_has_the_id_whatever_it_is_made_of() -> None:
    for run_id in ("plain", 'with "quotes"', "back\\slash", "ä"):
        header = Header(pack(flows.plan(one()), RunOptions(run_id, "key", "trace")).header)
        assert (header.id, header.key, header.options.trace_id) == (run_id, "key", "trace")
