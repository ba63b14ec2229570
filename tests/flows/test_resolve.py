"""What counts for a job when its queue, its task and it itself give options."""

from typing import Any

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st

from flows._backoff import Backoff
from flows._opts import Opts, Settings, resolve

RETRYING = tenacity.Retrying(stop=tenacity.stop_after_attempt(3))


def test_without_options_every_setting_has_its_default() -> None:
    assert (
        resolve(None, None, None)
        == resolve(Opts(), Opts(), Opts())
        == Settings(
            attempts=1,
            backoff=None,
            retry_on=(Exception,),
            give_up_on=(),
            retry=None,
            retry_parts=frozenset(),
            timeout=None,
            delay=0.0,
            priority=0,
            lifo=False,
            on_failure="fail",
            idempotency_key=None,
            run_in="thread",
        )
    )


def test_the_job_stands_over_the_task_and_the_task_over_the_queue() -> None:
    settings = resolve(
        Opts(attempts=2, timeout=2, delay=2, priority=2),
        Opts(attempts=3, timeout=3, delay=3),
        Opts(attempts=4, timeout=4),
    )
    assert (settings.attempts, settings.timeout, settings.delay, settings.priority) == (4, 4.0, 3.0, 2)
    assert resolve(Opts(attempts=2), None, None).attempts == 2


ALL_PARTS = frozenset({"stop", "wait", "retry"})
RULES = Opts(attempts=2, backoff=Backoff.fixed(1), retry_on=ValueError, give_up_on=KeyError)


@pytest.mark.parametrize(
    "levels",
    [
        (Opts(retry=RETRYING), None, None),
        (RULES, Opts(retry=RETRYING), None),
        (RULES, RULES, Opts(retry=RETRYING)),
    ],
    ids=["on the queue", "on the task", "on the job"],
)
def test_a_retry_replaces_the_rules_of_its_level_and_below(levels: Any) -> None:
    settings = resolve(*levels)
    assert settings == Settings(attempts=1000, retry=RETRYING, retry_parts=ALL_PARTS)


@pytest.mark.parametrize(
    ("higher", "parts"),
    [
        (Opts(attempts=2), {"wait", "retry"}),
        (Opts(backoff=Backoff.fixed(1)), {"stop", "retry"}),
        (Opts(retry_on=ValueError), {"stop", "wait"}),
        (Opts(give_up_on=KeyError), {"stop", "wait", "retry"}),
        (Opts(timeout=1), {"stop", "wait", "retry"}),
    ],
    ids=["attempts", "backoff", "retry_on", "give_up_on", "timeout"],
)
def test_what_a_level_above_the_retry_gives_stands_in_place_of_that_part(higher: Opts, parts: set[str]) -> None:
    for settings in (
        resolve(Opts(retry=RETRYING), None, higher),
        resolve(None, Opts(retry=RETRYING).updated(higher), None),
    ):
        assert settings.retry is RETRYING
        assert settings.retry_parts == parts
        for name, value in higher.given.items():
            assert getattr(settings, name) == value


def test_a_retry_of_which_nothing_is_left_is_gone() -> None:
    assert resolve(Opts(retry=RETRYING), RULES, None) == resolve(None, RULES, None)


def test_a_higher_retry_replaces_a_lower_one_and_what_was_laid_over_it() -> None:
    other = tenacity.Retrying()
    settings = resolve(Opts(retry=RETRYING), RULES, Opts(retry=other))
    assert settings == Settings(attempts=1000, retry=other, retry_parts=ALL_PARTS)


levels = st.none() | st.builds(
    lambda plain, rules: Opts(**plain, **rules),
    st.fixed_dictionaries({}, optional={"timeout": st.just(3), "priority": st.integers(0, 5)}),
    st.just({"retry": RETRYING})
    | st.fixed_dictionaries(
        {},
        optional={
            "attempts": st.integers(1, 9),
            "give_up_on": st.just(KeyError),
            "retry_on": st.just(OSError),
        },
    ),
)


@given(levels, levels, levels)
def test_resolving_is_laying_one_level_over_the_other(queue: Opts | None, task: Opts | None, job: Opts | None) -> None:
    laid = Opts()
    for level in (queue, task, job):
        laid = laid if level is None else laid.updated(level)
    assert resolve(None, None, laid) == resolve(queue, task, job)
    assert hash(resolve(queue, task, job)) == hash(resolve(queue, task, job))
