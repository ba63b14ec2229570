"""Values that nobody should pass, and how a call answers them: strategies shared by the fuzzing tests."""

import contextlib
import datetime
import decimal
import fractions
import functools
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tenacity
from hypothesis import strategies as st

import flows
from flows import Backoff, Job, Opts, Queue, _registry
from flows.errors import FlowsError


class Nasty(Exception):
    """What odd values raise when they are looked at."""


class Unshowable:
    def __repr__(self) -> str:
        raise Nasty("repr")

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        raise Nasty("format")


class Untouchable(Unshowable):
    """Raises whatever is done with it."""

    def __eq__(self, other: object) -> bool:
        raise Nasty("eq")

    def __hash__(self) -> int:
        raise Nasty("hash")

    def __bool__(self) -> bool:
        raise Nasty("bool")

    def __len__(self) -> int:
        raise Nasty("len")

    def __iter__(self) -> Iterator[Any]:
        raise Nasty("iter")

    def __getitem__(self, key: object) -> Any:
        raise Nasty("getitem")

    def __reduce__(self) -> Any:
        raise Nasty("reduce")


class LoudText(str):
    """Text that shows itself without end."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "\x1b[31m" + "loud\n" * 1_000

    __str__ = __repr__


class Liar(Mapping[str, Any]):
    """A mapping that has keys, and no values."""

    def __getitem__(self, key: str) -> Any:
        raise Nasty("getitem")

    def __iter__(self) -> Iterator[str]:
        return iter(("name", "data", "kind", "type"))

    def __len__(self) -> int:
        return 4


class OddNumber(int):
    def __lt__(self, other: object) -> bool:
        raise Nasty("lt")

    __gt__ = __le__ = __ge__ = __eq__ = __lt__

    def __hash__(self) -> int:
        return 0


class Shouting(type):
    """A class that cannot be shown itself."""

    def __repr__(cls) -> str:
        raise Nasty("repr of a class")


class Shout(metaclass=Shouting):
    pass


@flows.task(name="odd-task")
def odd_task(value: Any = None, **_: Any) -> Any:
    return value


def _circular() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def _nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = {"n": value}
    return value


async def _coroutine_function() -> None: ...


_JOB = Job("odd-task", id="odd")

ODD: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**64), 10**400, 0.0, -0.0, 0.5, 1e308, -1e308, 5e-324),
    *(float("nan"), float("inf"), float("-inf"), 1j, decimal.Decimal("NaN"), decimal.Decimal(3), fractions.Fraction(1)),
    *("", " ", "x", "x" * 129, "x" * 10_000, "\0", "\n", "\ud800", "\u202e", "ß", "1s", "10/s", "-1s", "9" * 5_000),
    *("1e9s", "1/0s", "0/s", "9" * 9 + "/s", "5/0.0s", "1/.s", "1/1.2.3s", "1/999999999w", "1." + "9" * 99 + "s"),
    *("fail", "thread", "default", "odd-task", "odd", "#", "odd-task#2", "{}", "%s", "{0.__class__}"),
    *(b"", b"x", b"\xff", bytearray(b"x"), memoryview(b"x"), (), [], {}, set(), frozenset({1}), range(3), slice(1)),
    *([None], ["x"], (1,), {"x": 1}, {1: 2}, {None: None}, {"\ud800": 1}, _circular(), _nested(70), _nested(5_000)),
    *(object(), object, int, ValueError, ValueError(), KeyboardInterrupt, BaseException, (ValueError, 3), type, sys),
    *(datetime.timedelta(1), datetime.timedelta(-1), datetime.timedelta.max, datetime.timedelta.min),
    *(datetime.datetime.now(), datetime.date.min, threading.Lock(), functools.partial(int), print, len, iter(())),
    *(Unshowable(), Untouchable(), LoudText("x"), LoudText(), Liar(), OddNumber(3), Shout, Shout()),
    *(_JOB, _JOB.out, _JOB.out.part[0], flows.optional(_JOB.out), flows.INJECTED, odd_task),
    *(Opts(), Opts(attempts=2), Queue("q"), Backoff.fixed(1), Backoff.custom(lambda *_: -1), Backoff),
    *(tenacity.Retrying(), tenacity.wait_fixed(1), tenacity.stop_never, _coroutine_function, contextlib, Ellipsis),
    NotImplemented,
]

odd = st.integers(0, len(ODD) - 1).map(lambda place: ODD[place])
"""One of the values that have been wrong somewhere."""

text = st.one_of(
    st.text(max_size=8), st.text(st.characters(), max_size=4), odd.filter(lambda value: type(value) is str)
)

numbers = st.one_of(st.integers(), st.floats(), st.integers(-3, 3), st.floats(-2, 2))

anything = st.one_of(
    odd,
    text,
    numbers,
    st.binary(max_size=4),
    st.recursive(
        odd,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.tuples(inner, inner),
            st.dictionaries(text, inner, max_size=3),
        ),
        max_leaves=6,
    ),
)
"""Any type of value."""

LIMIT = 20_000
"""Characters that no message comes near: 20 problems, each showing 80 characters and a remedy."""


def answered(call: Callable[[], Any], *also: type[BaseException]) -> Any:
    """What *call* returns; None where it raises an error of the library's that can be shown.

    Whatever else it raises passes through and fails the test. Refused or not, no task is registered by it.
    """
    before = registered()
    try:
        return call()
    except BaseException as error:
        if not isinstance(error, (FlowsError, *also)):
            raise
        said = str(error)
    assert 0 < len(said) < LIMIT
    assert all(line.isprintable() for line in said.split("\n")), said
    assert registered() == before
    return None


def registered() -> list[object]:
    """All tasks that there are; no two are equal."""
    return [task for named in _registry._tasks.values() for task in named.values()]
