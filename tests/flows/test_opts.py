"""Options: what may be given, and what the refusal of the rest says."""

import asyncio
import copy
import pickle
from datetime import timedelta
from typing import Any

import pytest
import tenacity
from tenacity.wait import wait_base

from flows._backoff import Backoff
from flows._opts import Options, Opts, Queue, Settings
from flows.errors import DefinitionError
from tests.case_ids import shown

RETRYING = tenacity.Retrying(stop=tenacity.stop_after_attempt(3))
FULL: Options = {
    "attempts": 5,
    "backoff": Backoff.fixed("1s"),
    "retry_on": (ConnectionError, TimeoutError),
    "give_up_on": PermissionError,
    "timeout": "30s",
    "delay": timedelta(minutes=1),
    "priority": 7,
    "lifo": True,
    "on_failure": "ignore",
    "idempotency_key": "order:123",
    "run_in": "process",
}


def refusal(**options: Any) -> str:
    with pytest.raises(DefinitionError) as caught:
        Opts(**options)
    return str(caught.value)


def test_what_was_given_is_kept_in_its_final_form() -> None:
    assert Opts(**FULL).given == {
        "attempts": 5,
        "backoff": Backoff.fixed(1.0),
        "retry_on": (ConnectionError, TimeoutError),
        "give_up_on": (PermissionError,),
        "timeout": 30.0,
        "delay": 60.0,
        "priority": 7,
        "lifo": True,
        "on_failure": "ignore",
        "idempotency_key": "order:123",
        "run_in": "process",
    }


def test_every_declared_option_is_understood() -> None:
    assert {*Opts(**FULL).given, "retry"} == set(Options.__annotations__) == set(Settings.__slots__) - {"retry_parts"}


def test_what_was_not_given_is_not_set() -> None:
    assert Opts().given == {}
    assert Opts(delay=0).given == {"delay": 0.0}


def test_given_is_a_copy() -> None:
    opts = Opts(attempts=2)
    opts.given["attempts"] = 0
    assert opts.given == {"attempts": 2}


def test_options_cannot_be_changed() -> None:
    opts = Opts(attempts=2)
    with pytest.raises(AttributeError, match="updated"):
        opts.attempts = 3
    with pytest.raises(AttributeError):
        del opts._given
    assert opts == Opts(attempts=2)


def test_equal_options_are_equal_and_hash_alike() -> None:
    assert Opts(timeout="1m") == Opts(timeout=60) == Opts(timeout=timedelta(minutes=1))
    assert len({Opts(timeout="1m"), Opts(timeout=60), Opts(timeout=61), Opts()}) == 3
    assert Opts(attempts=2, delay=1) == Opts(delay=1, attempts=2)
    assert hash(Opts(attempts=2, delay=1)) == hash(Opts(delay=1, attempts=2))
    assert Opts(attempts=2) != {"attempts": 2}


def test_options_hash_even_if_a_backoff_does_not() -> None:
    class Unhashable:
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Unhashable)

        def __call__(self, attempt: int, error: BaseException) -> float:
            return 1.0

    opts, equal = (Opts(backoff=Backoff.custom(Unhashable())) for _ in range(2))
    assert {opts: "kept"}[equal] == "kept"


def test_the_repr_shows_what_was_given() -> None:
    assert repr(Opts(attempts=3, timeout="1m", on_failure="skip")) == (
        "Opts(attempts=3, timeout=60.0, on_failure='skip')"
    )


@pytest.mark.parametrize("again", [lambda o: pickle.loads(pickle.dumps(o)), copy.copy, copy.deepcopy])
def test_options_and_queues_pickle_and_copy(again) -> None:
    assert again(Opts(**FULL)) == Opts(**FULL)
    queue = Queue("payments", concurrency=5, rate="10/s", attempts=5)
    assert again(queue) == queue
    assert again(queue).rate_limit == (10, 1.0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"attempts": 0}, "option attempts 0: is out of range; give a whole number from 1 to 1,000"),
        ({"attempts": -1}, "option attempts -1: is out of range"),
        ({"attempts": 1001}, "option attempts 1001: is out of range"),
        ({"attempts": 1.5}, "option attempts 1.5: is of type float"),
        ({"attempts": True}, "option attempts True: is of type bool"),
        ({"attempts": "3"}, "option attempts '3': is of type str"),
        ({"attempts": None}, "option attempts None: is no value; leave the option out"),
        ({"timeout": 0}, "option timeout 0: must be more than 0"),
        ({"timeout": -1}, "option timeout -1: is negative"),
        ({"timeout": "5"}, "option timeout '5': lacks the unit"),
        ({"timeout": True}, "option timeout True: is of type bool"),
        ({"timeout": float("nan")}, "option timeout nan: is not finite"),
        ({"delay": -0.1}, "option delay -0.1: is negative"),
        ({"delay": float("inf")}, "option delay inf: is not finite"),
        ({"delay": "367d"}, "option delay '367d': is longer than 366 days"),
        ({"delay": None}, "option delay None: is no value"),
        ({"priority": -1}, "option priority -1: is out of range; give a whole number from 0 to 2,097,151"),
        ({"priority": 2_097_152}, "option priority 2097152: is out of range"),
        ({"priority": False}, "option priority False: is of type bool"),
        ({"lifo": 1}, "option lifo 1: is of type int; give True or False"),
        ({"on_failure": "ignor"}, "did you mean 'ignore'? give one of 'fail', 'ignore', 'continue'"),
        ({"on_failure": 1}, "option on_failure 1: is none of the choices"),
        ({"run_in": "fiber"}, "give one of 'thread', 'process'"),
        ({"idempotency_key": ""}, "option idempotency_key '': is empty"),
        ({"idempotency_key": "x" * 256}, "has 256 characters"),
        ({"idempotency_key": "a\x00"}, "U+0000"),
        ({"idempotency_key": 5}, "option idempotency_key 5: is of type int"),
        ({"retry_on": "ValueError"}, "option retry_on 'ValueError': is no exception class"),
        ({"retry_on": [ValueError]}, "or a tuple of them"),
        ({"retry_on": (ValueError, int)}, "option retry_on <class 'int'>: is no exception class"),
        ({"retry_on": ValueError("x")}, "give ValueError"),
        ({"retry_on": BaseException}, "stands outside Exception"),
        ({"retry_on": (asyncio.CancelledError,)}, "stands outside Exception"),
        ({"give_up_on": KeyboardInterrupt}, "option give_up_on <class 'KeyboardInterrupt'>: stands outside"),
        ({"backoff": 5}, "option backoff 5: is of type int; a fixed wait is Backoff.fixed(5)"),
        ({"backoff": "5s"}, "Backoff.fixed('5s')"),
        ({"backoff": "exponential"}, "is of type str; give Backoff.fixed, .exponential, .steps or .custom"),
        ({"backoff": lambda attempt, error: 1}, "Backoff.custom(...)"),
        ({"backoff": {"type": "fixed"}}, "or a tenacity wait"),
        ({"retry": 3}, "a number of tries goes into attempts"),
        ({"retry": tenacity.retry}, "give tenacity.Retrying(...)"),
        ({"retires": 3}, "option 'retires': there is none of that name; did you mean attempts?"),
        ({"time_out": 3}, "did you mean timeout?"),
        ({"colour": 3}, "known are attempts, backoff, retry_on"),
    ],
    ids=lambda value: shown(value)[:40] if isinstance(value, dict) else "",
)
def test_a_wrong_option_is_refused_by_name_with_its_value_and_a_remedy(options, said) -> None:
    message = refusal(**options)
    assert said in message
    assert message.startswith("option ")
    assert message.isprintable()
    assert len(message) < 300


def test_an_offending_value_is_cut_to_80_characters() -> None:
    assert len(refusal(on_failure="x" * 10_000)) < 250


def test_all_wrong_options_are_listed_at_once() -> None:
    with pytest.raises(DefinitionError) as caught:
        Opts(attempts=0, timeout="30s", delay=-1, colour=1)  # type: ignore[call-arg]
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "option attempts 0",
        "option delay -1",
        "option 'colour'",
    ]


def test_limits_are_inclusive() -> None:
    assert Opts(attempts=1000, priority=2_097_151, delay="366d", idempotency_key="x" * 255).given["attempts"] == 1000
    assert Opts(retry_on=()).given == {"retry_on": ()}


@pytest.mark.parametrize(
    "wait",
    [
        tenacity.wait_fixed(1),
        tenacity.wait_fixed(1) + tenacity.wait_random(0, 1),
        tenacity.wait_chain(tenacity.wait_fixed(1), tenacity.wait_fixed(2)),
        sum([tenacity.wait_fixed(1), tenacity.wait_fixed(2)]),
    ],
    ids=["plain", "sum of two", "chain", "sum()"],
)
def test_tenacity_waits_are_backoffs(wait: wait_base) -> None:
    assert Opts(backoff=wait).given == {"backoff": wait}


@pytest.mark.parametrize("kind", [tenacity.Retrying, tenacity.AsyncRetrying])
def test_tenacity_controllers_are_retries(kind) -> None:
    retry = kind()
    assert Opts(retry=retry, timeout=1).given == {"retry": retry, "timeout": 1.0}


@pytest.mark.parametrize("rival", ["attempts", "backoff", "retry_on", "give_up_on"])
def test_a_retry_beside_what_it_replaces_is_refused(rival: str) -> None:
    message = refusal(retry=RETRYING, **{rival: FULL[rival]})  # type: ignore[literal-required]
    assert f"option retry: is given beside {rival}" in message


def test_updated_puts_the_other_options_over_these() -> None:
    base = Opts(attempts=2, timeout=1)
    assert base.updated(Opts(attempts=3, delay=1)) == Opts(attempts=3, timeout=1, delay=1)
    assert base == Opts(attempts=2, timeout=1)
    assert base.updated(Opts()) == base


def test_updated_by_a_retry_drops_what_it_replaces() -> None:
    base = Opts(attempts=2, backoff=Backoff.fixed(1), retry_on=ValueError, give_up_on=KeyError, timeout=1)
    assert base.updated(Opts(retry=RETRYING)) == Opts(retry=RETRYING, timeout=1)


def test_a_queue_keeps_its_limits_and_default_options() -> None:
    queue = Queue("payments", concurrency=5, rate="10/s", attempts=5, timeout="30s")
    assert (queue.name, queue.concurrency, queue.rate) == ("payments", 5, "10/s")
    assert queue.opts == Opts(attempts=5, timeout=30)
    assert repr(queue) == "Queue('payments', concurrency=5, rate='10/s', attempts=5, timeout=30.0)"
    assert repr(Queue("payments")) == "Queue('payments')"
    assert (Queue("payments").concurrency, Queue("payments").rate_limit) == (None, None)


def test_queues_are_values() -> None:
    assert Queue("a", attempts=2) == Queue("a", attempts=2) != Queue("a", attempts=3)
    assert len({Queue("a"), Queue("a"), Queue("b"), Queue("a", concurrency=1)}) == 3
    with pytest.raises(AttributeError, match="make another"):
        Queue("a").name = "b"
    with pytest.raises(AttributeError, match="make another"):
        del Queue("a").name


@pytest.mark.parametrize(
    ("rate", "limit"),
    [
        ("10/s", (10, 1.0)),
        ("100/min", (100, 60.0)),
        ("5/h", (5, 3600.0)),
        ("10/30s", (10, 30.0)),
        ("1 / 1.5s", (1, 1.5)),
        ("7/d", (7, 86400.0)),
    ],
)
def test_rates_are_jobs_per_time(rate: str, limit: tuple[int, float]) -> None:
    assert Queue("a", rate=rate).rate_limit == limit


@pytest.mark.parametrize(
    "rate",
    [
        "",
        "10",
        "0/s",
        "-1/s",
        "10/",
        "10/parsec",
        "1.5/s",
        "10/0s",
        "/s",
        "10/s/s",
        "10/1.s",
        10,
        True,
        b"1/s",
    ],
    ids=repr,
)
def test_other_rates_are_refused(rate: Any) -> None:
    with pytest.raises(DefinitionError, match=r"queue 'a': rate .*'100/min'"):
        Queue("a", rate=rate)


@pytest.mark.parametrize("concurrency", [0, -1, 1.5, True, "5"])
def test_other_concurrencies_are_refused(concurrency: Any) -> None:
    with pytest.raises(DefinitionError, match=r"queue 'a': concurrency .*give a whole number from 1 up"):
        Queue("a", concurrency=concurrency)


def test_everything_wrong_with_a_queue_is_listed() -> None:
    with pytest.raises(DefinitionError) as caught:
        Queue("a b", concurrency=0, rate="x", attempts=0, delay=-1)
    assert len(caught.value.problems) == 5
