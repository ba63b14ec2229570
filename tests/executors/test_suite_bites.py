"""The conformance suite finds what is broken: each executor here breaks one promise, and a test says so."""

import functools
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from executors.memory import MemoryExecutor
from flows.testing import ExecutorConformance
from tests.executors import broken as sabotaged

SOON = 10.0
HANGS = 0.5
"""Seconds after which a test on a broken executor counts as one that hangs; on the good one it takes milliseconds."""


pytestmark = pytest.mark.slow


def executor(broken: type[Any], slots: int) -> MemoryExecutor:
    url = f"memory://?private=1&concurrency={slots}"
    if issubclass(broken, MemoryExecutor):
        return broken(url)
    made = MemoryExecutor(url)
    made._home.store = broken()
    return made


class OneAtATime(ExecutorConformance):
    capabilities = ExecutorConformance.capabilities - {"process"}
    concurrency = 1


class Several(ExecutorConformance):
    capabilities = ExecutorConformance.capabilities - {"process"}
    concurrency = 8


class WithProcesses(ExecutorConformance):
    concurrency = 8


class SaysItHasNoKeys(ExecutorConformance):
    capabilities = ExecutorConformance.capabilities - {"process", "keys"}


def calls(
    suite: type[ExecutorConformance], name: str, make: Callable[[], MemoryExecutor]
) -> Iterator[Callable[[], None]]:
    """The calls that pytest makes of a test of the suite: one for each set of parameters."""
    test = getattr(suite, name)
    lists = [mark.args for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
    for values in itertools.product(*(given for _, given in lists)):
        parameters: dict[str, Any] = {}
        for (names, _), value in zip(lists, values, strict=True):
            parameters.update([(names, value)] if isinstance(names, str) else zip(names, value, strict=True))
        yield functools.partial(lambda given: test(suite(), executor=make(), **given), parameters)


def ends_well(call: Callable[[], None], patience: float) -> bool:
    """Whether *call* returns in time; in a thread of its own, as it may never do so."""
    well = threading.Event()
    ended = threading.Event()

    def run() -> None:
        try:
            call()
            well.set()
        except BaseException:  # whatever the broken executor brings about
            well.clear()
        finally:
            ended.set()

    threading.Thread(target=run, daemon=True).start()
    return ended.wait(patience) and well.is_set()


BITES = [
    (sabotaged.ClaimsTwice, Several, "test_a_diamond_runs_its_shared_job_once_and_both_sides_see_it"),
    (sabotaged.LosesASettle, Several, "test_a_lone_job_gives_its_result"),
    (sabotaged.TakesFalseForNothing, Several, "test_a_result_that_is_false_is_a_result"),
    (sabotaged.DoesNotWaitBeforeRetries, Several, "test_the_backoff_is_waited_for"),
    (sabotaged.StartsAParentEarly, Several, "test_a_job_starts_when_all_it_depends_on_has_ended"),
    (sabotaged.NeverEnds, Several, "test_an_async_handler_gives_its_result"),
    (sabotaged.ForgetsPolicies, Several, "test_states_of_random_flows_follow_from_the_rules"),
    (sabotaged.ForgetsPolicies, Several, "test_an_order_only_edge_obeys_the_policy"),
    (sabotaged.ForgetsPolicies, Several, "test_optional_outranks_the_policy_for_its_edge_alone"),
    (sabotaged.DropsRetries, Several, "test_a_job_is_tried_until_it_goes_well"),
    (sabotaged.ForgetsDelays, Several, "test_a_delay_runs_from_the_moment_that_the_job_is_ready"),
    (sabotaged.ForgetsPriorities, OneAtATime, "test_jobs_are_taken_up_by_priority_then_first_come"),
    (sabotaged.TellsTheEndFirst, Several, "test_events_tell_the_run_in_order"),
    (sabotaged.IgnoresLimits, Several, "test_no_more_of_a_queue_run_at_once_than_it_allows"),
    (sabotaged.IgnoresLimits, Several, "test_concurrent_runs_share_the_places_of_a_queue"),
    (sabotaged.IgnoresLimits, Several, "test_starts_keep_to_the_rate"),
    (sabotaged.IgnoresLimits, Several, "test_retries_and_concurrent_runs_keep_to_the_rate_together"),
    (sabotaged.ForgetsPlacesOfFailures, Several, "test_attempts_that_fail_give_their_place_back"),
    (sabotaged.IgnoresCancel, Several, "test_what_has_not_started_is_cancelled"),
    (sabotaged.LosesTheOrderOfItems, Several, "test_the_value_of_a_list_is_its_items_results_in_their_order"),
    (sabotaged.LosesTheLastItem, Several, "test_lists_stand_in_lists"),
    (sabotaged.IgnoresTheLimitOfLists, Several, "test_items_open_at_once_are_limited"),
    (sabotaged.TakesAllConditionsForMet, Several, "test_a_job_runs_if_its_condition_holds"),
    (sabotaged.ForgetsThePoliciesOfItems, Several, "test_an_items_policy_acts_on_the_list"),
    (sabotaged.ReopensWhatHadCompleted, Several, "test_a_retry_does_what_failed_again_and_nothing_that_completed"),
    (sabotaged.ReopensNothing, Several, "test_a_retry_takes_a_list_up_where_it_failed"),
    (sabotaged.RerunsTheJobAlone, Several, "test_a_rerun_does_the_job_and_what_follows_again"),
    (sabotaged.GivesOneAttemptAfterAReopening, Several, "test_a_retry_has_a_fresh_budget_of_attempts"),
    (sabotaged.DoesNotFailFast, Several, "test_failing_fast_stops_the_rest_when_the_root_has_failed"),
    (sabotaged.IgnoresTheDeadline, Several, "test_the_deadline_ends_a_run_that_only_waits"),
    (sabotaged.IgnoresTheKey, Several, "test_a_key_names_one_run"),
    (sabotaged.TakesOneKeyForAnother, Several, "test_a_key_of_another_flow_is_refused"),
    (sabotaged.NeverRetires, Several, "test_of_a_flow_s_ended_runs_the_newest_are_kept"),
    (sabotaged.NeverRetires, Several, "test_failed_runs_are_kept_by_their_own_measure"),
    (sabotaged.FreesKeysWithTheirRuns, Several, "test_a_run_past_its_retention_is_not_run_again_while_its_key_holds"),
    (sabotaged.ReservesForEverybody, Several, "test_a_second_job_of_a_key_takes_the_result_of_the_first"),
    (sabotaged.ForgetsTheDataOfAKey, Several, "test_a_job_of_a_key_that_does_something_else_fails_at_once"),
    (sabotaged.NeverTakesOver, Several, "test_a_job_runs_itself_when_the_first_of_its_key_has_failed"),
    (sabotaged.RunsProcessesInThreads, WithProcesses, "test_arguments_and_results_travel"),
    (sabotaged.RunsProcessesInThreads, WithProcesses, "test_a_function_that_no_process_could_import_is_refused"),
    (sabotaged.ReusesFences, Several, "test_a_late_result_is_not_taken_for_that_of_the_next_attempt"),
    (sabotaged.ForgetsPauses, Several, "test_a_paused_queue_hands_nothing_out_until_it_is_resumed"),
    (MemoryExecutor, SaysItHasNoKeys, "test_without_keys_a_run_with_one_is_refused"),
]


@pytest.mark.parametrize(("broken", "suite", "test"), BITES)
def test_the_suite_finds_what_is_broken(broken: type[Any], suite: type[ExecutorConformance], test: str) -> None:
    make = lambda: executor(broken, suite.concurrency)  # noqa: E731 - made anew for each call
    assert not all(ends_well(call, HANGS) for call in calls(suite, test, make))


@pytest.mark.parametrize(("suite", "test"), sorted({(suite, test) for _, suite, test in BITES[:-1]}, key=str))
def test_the_same_tests_pass_on_what_is_sound(suite: type[ExecutorConformance], test: str) -> None:
    # On the store that the broken ones are made of, so that nothing but the breaking is found above.
    made = list(calls(suite, test, lambda: executor(sabotaged.BrokenStore, suite.concurrency)))
    assert made
    assert all(ends_well(call, SOON) for call in made)


def test_late_results_are_refused_by_their_fence_alone() -> None:
    (call,) = calls(
        Several,
        "test_a_late_result_is_not_taken_for_that_of_the_next_attempt",
        lambda: executor(sabotaged.HearsLateResults, Several.concurrency),
    )
    assert ends_well(call, SOON)


def names_in(suite: type) -> set[str]:
    return {name for name in dir(suite) if name.startswith("test_") and getattr(suite, name) is not None}


def both(capabilities: frozenset[str]) -> set[str]:
    """The tests of executors with *capabilities*: of those that work one at a time, and of the others."""
    namespaces: list[dict[str, Any]] = [{"capabilities": capabilities, "concurrency": slots} for slots in (1, 8)]
    return set().union(*(names_in(type("Able", (ExecutorConformance,), names)) for names in namespaces))


def test_what_does_not_apply_is_no_test_of_the_executor() -> None:
    serial, several, keyless = names_in(OneAtATime), names_in(Several), names_in(SaysItHasNoKeys)
    assert "test_jobs_are_taken_up_by_priority_then_first_come" in serial - several
    assert "test_handlers_that_block_overlap" in several - serial
    assert "test_a_key_names_one_run" in several - keyless
    assert "test_without_keys_a_run_with_one_is_refused" in keyless - several
    assert "test_a_handler_runs_in_a_process_of_its_own" in names_in(ExecutorConformance) - serial


def test_each_capability_has_tests_and_a_twin_for_its_lack() -> None:
    for capability in ExecutorConformance.capabilities:
        having, lacking = both(ExecutorConformance.capabilities), both(ExecutorConformance.capabilities - {capability})
        assert having - lacking, capability
        assert lacking - having or capability == "embedded", capability  # its lack refuses nothing


def test_a_test_switched_off_by_a_subclass_stays_off() -> None:
    class Choosy(Several):
        test_a_key_names_one_run = None  # type: ignore[assignment]

    assert "test_a_key_names_one_run" not in names_in(Choosy)


def test_a_capability_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError, match="telepathy"):
        type("Odd", (ExecutorConformance,), {"capabilities": frozenset({"telepathy"})})
