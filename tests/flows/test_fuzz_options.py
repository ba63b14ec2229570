"""Whatever is passed as a name, an option, a queue or a duration: it is taken, or refused by an error of ours."""

import functools
from collections.abc import Callable
from typing import Any, get_args

from hypothesis import example, given
from hypothesis import strategies as st

import flows
from flows import Backoff, Job, Opts, Queue
from flows._duration import LIMIT_SECONDS, seconds
from flows._names import check_name, check_queue, shown
from flows._option_checks import check_rate
from flows._opts import Options
from tests.flows.odd_values import ODD, Liar, Nasty, answered, anything, numbers, odd_task, text
from tests.sizes import size

untyped: Any = flows
untyped_task: Any = odd_task

OPTION_NAMES = st.one_of(st.sampled_from([*Options.__annotations__]), text)
OPTIONS = st.dictionaries(OPTION_NAMES, anything, max_size=4)
"""Options by any name, of any value; those that a call takes beside them are left out where it is made."""


def without(options: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in names}


def test_every_odd_value_is_answered_by_every_option() -> None:
    for value in ODD[:: size(1, 3)]:
        for name in Options.__annotations__:
            opts = answered(functools.partial(untyped.Opts, **{name: value}))
            if opts is not None:
                hash(opts)
                repr(opts)
        for name in ("concurrency", "rate"):
            answered(functools.partial(untyped.Queue, "q", **{name: value}))


def test_every_odd_value_is_answered_by_every_name() -> None:
    for value in ODD[size(0, 1) :: size(1, 3)]:
        for call in calls_with(value):
            answered(call, Nasty)  # what is given to iterate over may itself raise


def calls_with(value: Any) -> list[Callable[[], Any]]:
    return [
        lambda: untyped.Job(value),
        lambda: untyped.Job("a", queue=value),
        lambda: untyped.Job("a", id=value),
        lambda: untyped.Job("a", data=value),
        lambda: untyped.Job("a", children=value),
        lambda: untyped.Job("a", opts=value),
        lambda: untyped.Queue(value),
        lambda: untyped_task.using(queue=value),
        lambda: untyped_task.using(id=value),
        lambda: untyped.task(lambda: 1, name=0 if value is None else value),
        lambda: untyped.task(lambda: 1, name="odd-queue", queue=value),
        lambda: untyped.task(value, name="odd-fn"),
        lambda: untyped.flow(value, name="odd-fn"),
        lambda: untyped.flow(lambda: 1, name=0 if value is None else value),
        lambda: untyped.Opts(on_failure=value),
        lambda: Job("a").on_failure(value),
        lambda: Job("a").after(value),
        lambda: untyped.optional(value),
        lambda: untyped.RetryAfter(value),
    ]


@given(anything)
def test_any_value_can_be_shown(value: object) -> None:
    line = shown(value)
    assert len(line) <= 80
    assert line.isprintable()


@given(anything)
def test_any_duration(value: object) -> None:
    result = answered(lambda: seconds(value))
    if result is not None:
        assert type(result) is float
        assert 0 <= result <= LIMIT_SECONDS


@given(st.from_regex(r"[0-9.]{0,5} ?[wdhms]{0,3} ?[0-9.]{0,4} ?[a-z]{0,4}", fullmatch=True) | text)
def test_any_text_as_duration_or_rate(value: str) -> None:
    result = answered(lambda: seconds(value, above_zero=True))
    assert result is None or 0 < result <= LIMIT_SECONDS
    rate = answered(lambda: check_rate(f"7/{value}", "rate"))
    assert rate is None or (rate[0] == 7 and 0 < rate[1] <= LIMIT_SECONDS)


@given(anything)
def test_any_name(value: object) -> None:
    for check in (check_name, check_queue):
        name = answered(functools.partial(check, value, "name"))
        if name is not None:
            assert type(name) is str
            assert 1 <= len(name) <= 128
            name.encode()


@given(OPTIONS)
def test_any_options(options: dict[str, Any]) -> None:
    opts = answered(lambda: Opts(**options))
    if opts is not None:
        assert opts.given.keys() == options.keys()
        assert opts == opts.updated(opts)
        hash(opts)
        repr(opts)


@given(anything, anything, anything, OPTIONS)
def test_any_queue(name: Any, concurrency: Any, rate: Any, options: dict[str, Any]) -> None:
    rest = without(options, "name", "concurrency", "rate")
    queue = answered(lambda: Queue(name, concurrency=concurrency, rate=rate, **rest))
    if queue is not None:
        assert queue == Queue(name, concurrency=concurrency, rate=rate, **rest)
        hash(queue)
        repr(queue)


@given(anything, anything, OPTIONS)
def test_any_task(name: Any, queue: Any, options: dict[str, Any]) -> None:
    rest = without(options, "name", "queue", "fn")
    answered(lambda: untyped.task(lambda: 1, name=0 if name is None else name, queue=queue, **rest))
    answered(lambda: odd_task.using(**without(options, "queue", "id"), queue=queue, id=name))


@given(anything, anything, anything, st.lists(anything, max_size=2), anything, anything)
def test_any_job(name: Any, queue: Any, data: Any, children: Any, opts: Any, id: Any) -> None:
    answered(lambda: Job(name, queue=queue, data=data, children=children, opts=opts, id=id), Nasty)
    job = answered(lambda: Job("odd-task", data=data, children=children, id=id), Nasty)
    if job is not None:
        repr(job)
        planned = answered(lambda: flows.plan(job))
        if planned is not None:
            answered(lambda: planned.fingerprint)
            planned.explain()
        answered(lambda: flows.Flow.of(job).to_dict())


WAITS = st.one_of(numbers, anything)


@given(WAITS, WAITS, WAITS, WAITS, st.lists(WAITS, max_size=3) | anything, st.integers(1, 10_000))
@example(1, 2, None, 0, Liar(), 1)
def test_any_backoff(delay: Any, factor: Any, cap: Any, jitter: Any, steps: Any, attempt: int) -> None:
    made = [
        answered(lambda: Backoff.fixed(delay, jitter=jitter)),
        answered(lambda: Backoff.exponential(delay, factor=factor, cap=cap, jitter=jitter)),
        answered(lambda: Backoff.exponential(1, factor=factor, jitter=0.5)),
        answered(lambda: Backoff.steps(steps)),
    ]
    for backoff in made:
        if backoff is not None:
            assert 0 <= backoff.delay(attempt, key="k") <= LIMIT_SECONDS
            assert Backoff.from_dict(backoff.to_dict()) == backoff
            hash(backoff)
    answered(lambda: Backoff.custom(steps))
    answered(lambda: Backoff.from_dict(steps), Nasty)  # what is given to be looked into may itself raise


@given(
    st.dictionaries(st.sampled_from(["kind", "delay", "base", "factor", "cap", "jitter", "delays"]) | text, anything)
)
def test_any_backoff_written_down(data: dict[str, Any]) -> None:
    answered(lambda: Backoff.from_dict(data))
    for kind in ("fixed", "exponential", "steps"):
        answered(functools.partial(Backoff.from_dict, {**data, "kind": kind}))


def test_the_policies_and_places_are_those_that_are_checked() -> None:
    for name in ("on_failure", "run_in"):
        for choice in get_args(Options.__annotations__.get(name)):
            assert untyped.Opts(**{name: choice}).given == {name: choice}
