"""The conformance suite finds what is broken: each executor here breaks one promise, and a test says so."""

import copy
import dataclasses
import functools
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from executors.memory import MemoryExecutor, MemoryRun, MemoryStore
from flows._context import current_grant
from flows._handlers import Handler
from flows._plan import Plan
from flows._shared_results import Owner, Shared, owner_of
from flows._verbs import End, FailedSettle, Grant, Reply, Settle, Want
from flows.executor import RunOptions
from flows.testing import ExecutorConformance

SOON = 10.0
HANGS = 0.5
"""Seconds after which a test on a broken executor counts as one that hangs; on the good one it takes milliseconds."""


pytestmark = pytest.mark.slow


class BrokenStore(MemoryStore):
    """Goes the long way round, where the breaking is done."""

    def pass_on(self, settle: Settle, worker: str) -> Grant | None:
        return None

    def step(self, run: MemoryRun, settle: Settle | None, worker: str) -> Grant | None:
        return None


class ClaimsTwice(BrokenStore):
    def exchange(self, loop: str, seq: int, settles: Sequence[Settle], want: Want, worker: str | None = None) -> Reply:
        reply = super().exchange(loop, seq, settles, want, worker)
        reply.grants *= 2
        return reply


class LosesASettle(BrokenStore):
    def exchange(self, loop: str, seq: int, settles: Sequence[Settle], want: Want, worker: str | None = None) -> Reply:
        return super().exchange(loop, seq, settles[1:], want, worker)


class TakesFalseForNothing(BrokenStore):
    def exchange(self, loop: str, seq: int, settles: Sequence[Settle], want: Want, worker: str | None = None) -> Reply:
        for settle in settles:
            settle.value = settle.value or None
        return super().exchange(loop, seq, settles, want, worker)


class DoesNotWaitBeforeRetries(BrokenStore):
    def exchange(self, loop: str, seq: int, settles: Sequence[Settle], want: Want, worker: str | None = None) -> Reply:
        for settle in settles:
            if isinstance(settle, FailedSettle):
                settle.after = 0.0
        return super().exchange(loop, seq, settles, want, worker)


class StartsAParentEarly(BrokenStore):
    def put_run(self, run: MemoryRun) -> None:
        for job, pending in enumerate(run.state.pending):
            run.state.pending[job] = min(pending, 1)
        super().put_run(run)


class NeverEnds(BrokenStore):
    def put_run(self, run: MemoryRun) -> None:
        for root in run.plan.roots:
            run.state.pending[root] += 1
        super().put_run(run)


class ForgetsPolicies(BrokenStore):
    def put_run(self, run: MemoryRun) -> None:
        run.state.effects = {}
        super().put_run(run)


class DropsRetries(BrokenStore):
    def put_run(self, run: MemoryRun) -> None:
        run.state.limits = [1] * len(run.plan)
        super().put_run(run)


class ForgetsDelays(BrokenStore):
    def put_run(self, run: MemoryRun) -> None:
        run.state.delays = {}
        super().put_run(run)


class ForgetsPriorities(BrokenStore):
    def put_run(self, run: MemoryRun) -> None:
        run.only_lane = run.lane(run.plan.queues_of[0], 0)
        super().put_run(run)


class TellsTheEndFirst(BrokenStore):
    def put_run(self, run: MemoryRun) -> None:
        run.journal.append((self.clock(), "ended", ((None, None, None),)))
        super().put_run(run)


class IgnoresLimits(BrokenStore):
    def put_run(self, run: MemoryRun) -> None:
        run.plan.limits.clear()
        super().put_run(run)


class ForgetsPlacesOfFailures(BrokenStore):
    def exchange(self, loop: str, seq: int, settles: Sequence[Settle], want: Want, worker: str | None = None) -> Reply:
        held = {(id(settle.grant.run), settle.grant.job) for settle in settles if isinstance(settle, FailedSettle)}
        for limit in self._limited.values():
            limit.active += len(held)
        return super().exchange(loop, seq, settles, want, worker)


class IgnoresCancel(BrokenStore):
    def cancel(self, run: MemoryRun, reason: str) -> None:
        pass


class LosesTheOrderOfItems(BrokenStore):
    def exchange(self, loop: str, seq: int, settles: Sequence[Settle], want: Want, worker: str | None = None) -> Reply:
        for settle in settles:
            if settle.end is End.EXPANDED:
                settle.value.reverse()
        return super().exchange(loop, seq, settles, want, worker)


class LosesTheLastItem(BrokenStore):
    def exchange(self, loop: str, seq: int, settles: Sequence[Settle], want: Want, worker: str | None = None) -> Reply:
        for settle in settles:
            if settle.end is End.EXPANDED and len(settle.value) > 1:
                settle.value.pop()
        return super().exchange(loop, seq, settles, want, worker)


class IgnoresTheLimitOfLists(BrokenStore):
    def put_run(self, run: MemoryRun) -> None:
        for body in run.plan.lists.values():
            body.limit = None
        super().put_run(run)


class TakesAllConditionsForMet(BrokenStore):
    def put_run(self, run: MemoryRun) -> None:
        run.conditions = dict.fromkeys(run.conditions, (True,))
        super().put_run(run)


class ForgetsThePoliciesOfItems(BrokenStore):
    def put_run(self, run: MemoryRun) -> None:
        for body in run.plan.lists.values():
            body.plan.settings = [dataclasses.replace(one, on_failure="fail") for one in body.plan.settings]
        super().put_run(run)


class ReopensWhatHadCompleted(BrokenStore):
    def reopen(self, run: MemoryRun, job: int | None, *, anew: bool) -> None:
        super().reopen(run, 0 if job is None else job, anew=True)


class ReopensNothing(BrokenStore):
    def reopen(self, run: MemoryRun, job: int | None, *, anew: bool) -> None:
        pass


class RerunsTheJobAlone(BrokenStore):
    def reopen(self, run: MemoryRun, job: int | None, *, anew: bool) -> None:
        if anew:
            run.plan.dependents[job] = ()  # type: ignore[index]
        super().reopen(run, job, anew=anew)


class GivesOneAttemptAfterAReopening(BrokenStore):
    def reopen(self, run: MemoryRun, job: int | None, *, anew: bool) -> None:
        run.state.limits = [1] * len(run.plan)
        super().reopen(run, job, anew=anew)


class DoesNotFailFast(MemoryExecutor):
    def submit(self, plan: Plan[Any], options: RunOptions, *, background: bool) -> MemoryRun:
        return super().submit(plan, dataclasses.replace(options, fail_fast=False), background=background)


class IgnoresTheDeadline(MemoryExecutor):
    def submit(self, plan: Plan[Any], options: RunOptions, *, background: bool) -> MemoryRun:
        return super().submit(plan, dataclasses.replace(options, timeout=None), background=background)


class IgnoresTheKey(MemoryExecutor):
    def submit(self, plan: Plan[Any], options: RunOptions, *, background: bool) -> MemoryRun:
        return super().submit(plan, dataclasses.replace(options, key=None), background=background)


class TakesOneKeyForAnother(MemoryExecutor):
    def submit(self, plan: Plan[Any], options: RunOptions, *, background: bool) -> MemoryRun:
        former = self.find(key=options.key) if options.key is not None else None
        return former or super().submit(plan, options, background=background)


class ReservesForEverybody(BrokenStore):
    def reserve(self, key: str, digest: str, grant: Grant, instead_of: Owner | None = None) -> Shared:
        return Shared(owner_of(grant), digest, False, None, "active")


class ForgetsTheDataOfAKey(BrokenStore):
    def reserve(self, key: str, digest: str, grant: Grant, instead_of: Owner | None = None) -> Shared:
        return super().reserve(key, digest, grant, instead_of)._replace(digest=digest)


class NeverTakesOver(BrokenStore):
    def reserve(self, key: str, digest: str, grant: Grant, instead_of: Owner | None = None) -> Shared:
        shared = super().reserve(key, digest, grant, instead_of)
        return shared if shared.owner == owner_of(grant) else shared._replace(owner_state="active")

    def _forget_pending(self, run: MemoryRun) -> None:
        pass


class NeverRetires(MemoryExecutor):
    def submit(self, plan: Plan[Any], options: RunOptions, *, background: bool) -> MemoryRun:
        options = dataclasses.replace(options, keep=1e9, keep_failed=1e9, keep_count=None)
        return super().submit(plan, options, background=background)


class FreesKeysWithTheirRuns(MemoryExecutor):
    def submit(self, plan: Plan[Any], options: RunOptions, *, background: bool) -> MemoryRun:
        return super().submit(plan, dataclasses.replace(options, key_ttl=options.keep), background=background)


class RunsProcessesInThreads(MemoryExecutor):
    def submit(self, plan: Plan[Any], options: RunOptions, *, background: bool) -> MemoryRun:
        plan.settings[:] = [dataclasses.replace(settings, run_in="thread") for settings in plan.settings]
        return super().submit(plan, options, background=background)


class HearsLateResults(BrokenStore):
    """Not broken: late results reach it, as they reach any store over a network, and their fence is too old."""

    def put_run(self, run: MemoryRun) -> None:
        run.handlers = [self._outspoken(handler) for handler in run.handlers]
        super().put_run(run)

    def _outspoken(self, handler: Handler) -> Handler:
        quiet, handler = handler.fn, copy.copy(handler)

        def fn(*args: Any, **kwargs: Any) -> Any:
            value, grant = quiet(*args, **kwargs), current_grant.get()
            if grant.stop is not None:
                settle = Settle(grant, End.COMPLETED, value, self.clock(), self.clock())
                self.exchange(f"late-{id(grant)}", 1, [settle], Want(0))
            return value

        handler.fn = fn
        return handler


class ReusesFences(HearsLateResults):
    def exchange(self, loop: str, seq: int, settles: Sequence[Settle], want: Want, worker: str | None = None) -> Reply:
        reply = super().exchange(loop, seq, settles, want, worker)
        for grant in reply.grants:
            run: Any = grant.run
            grant.fence = run.fences[grant.job] = 7
        return reply


class ForgetsPauses(BrokenStore):
    pause: Any = lambda *_, **__: None


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
    (ClaimsTwice, Several, "test_a_diamond_runs_its_shared_job_once_and_both_sides_see_it"),
    (LosesASettle, Several, "test_a_lone_job_gives_its_result"),
    (TakesFalseForNothing, Several, "test_a_result_that_is_false_is_a_result"),
    (DoesNotWaitBeforeRetries, Several, "test_the_backoff_is_waited_for"),
    (StartsAParentEarly, Several, "test_a_job_starts_when_all_it_depends_on_has_ended"),
    (NeverEnds, Several, "test_an_async_handler_gives_its_result"),
    (ForgetsPolicies, Several, "test_states_of_random_flows_follow_from_the_rules"),
    (ForgetsPolicies, Several, "test_an_order_only_edge_obeys_the_policy"),
    (ForgetsPolicies, Several, "test_optional_outranks_the_policy_for_its_edge_alone"),
    (DropsRetries, Several, "test_a_job_is_tried_until_it_goes_well"),
    (ForgetsDelays, Several, "test_a_delay_runs_from_the_moment_that_the_job_is_ready"),
    (ForgetsPriorities, OneAtATime, "test_jobs_are_taken_up_by_priority_then_first_come"),
    (TellsTheEndFirst, Several, "test_events_tell_the_run_in_order"),
    (IgnoresLimits, Several, "test_no_more_of_a_queue_run_at_once_than_it_allows"),
    (IgnoresLimits, Several, "test_concurrent_runs_share_the_places_of_a_queue"),
    (IgnoresLimits, Several, "test_starts_keep_to_the_rate"),
    (IgnoresLimits, Several, "test_retries_and_concurrent_runs_keep_to_the_rate_together"),
    (ForgetsPlacesOfFailures, Several, "test_attempts_that_fail_give_their_place_back"),
    (IgnoresCancel, Several, "test_what_has_not_started_is_cancelled"),
    (LosesTheOrderOfItems, Several, "test_the_value_of_a_list_is_its_items_results_in_their_order"),
    (LosesTheLastItem, Several, "test_lists_stand_in_lists"),
    (IgnoresTheLimitOfLists, Several, "test_items_open_at_once_are_limited"),
    (TakesAllConditionsForMet, Several, "test_a_job_runs_if_its_condition_holds"),
    (ForgetsThePoliciesOfItems, Several, "test_an_items_policy_acts_on_the_list"),
    (ReopensWhatHadCompleted, Several, "test_a_retry_does_what_failed_again_and_nothing_that_completed"),
    (ReopensNothing, Several, "test_a_retry_takes_a_list_up_where_it_failed"),
    (RerunsTheJobAlone, Several, "test_a_rerun_does_the_job_and_what_follows_again"),
    (GivesOneAttemptAfterAReopening, Several, "test_a_retry_has_a_fresh_budget_of_attempts"),
    (DoesNotFailFast, Several, "test_failing_fast_stops_the_rest_when_the_root_has_failed"),
    (IgnoresTheDeadline, Several, "test_the_deadline_ends_a_run_that_only_waits"),
    (IgnoresTheKey, Several, "test_a_key_names_one_run"),
    (TakesOneKeyForAnother, Several, "test_a_key_of_another_flow_is_refused"),
    (NeverRetires, Several, "test_of_a_flow_s_ended_runs_the_newest_are_kept"),
    (NeverRetires, Several, "test_failed_runs_are_kept_by_their_own_measure"),
    (FreesKeysWithTheirRuns, Several, "test_a_run_past_its_retention_is_not_run_again_while_its_key_holds"),
    (ReservesForEverybody, Several, "test_a_second_job_of_a_key_takes_the_result_of_the_first"),
    (ForgetsTheDataOfAKey, Several, "test_a_job_of_a_key_that_does_something_else_fails_at_once"),
    (NeverTakesOver, Several, "test_a_job_runs_itself_when_the_first_of_its_key_has_failed"),
    (RunsProcessesInThreads, WithProcesses, "test_arguments_and_results_travel"),
    (RunsProcessesInThreads, WithProcesses, "test_a_function_that_no_process_could_import_is_refused"),
    (ReusesFences, Several, "test_a_late_result_is_not_taken_for_that_of_the_next_attempt"),
    (ForgetsPauses, Several, "test_a_paused_queue_hands_nothing_out_until_it_is_resumed"),
    (MemoryExecutor, SaysItHasNoKeys, "test_without_keys_a_run_with_one_is_refused"),
]


@pytest.mark.parametrize(("broken", "suite", "test"), BITES)
def test_the_suite_finds_what_is_broken(broken: type[Any], suite: type[ExecutorConformance], test: str) -> None:
    make = lambda: executor(broken, suite.concurrency)  # noqa: E731 - made anew for each call
    assert not all(ends_well(call, HANGS) for call in calls(suite, test, make))


@pytest.mark.parametrize(("suite", "test"), sorted({(suite, test) for _, suite, test in BITES[:-1]}, key=str))
def test_the_same_tests_pass_on_what_is_sound(suite: type[ExecutorConformance], test: str) -> None:
    # On the store that the broken ones are made of, so that nothing but the breaking is found above.
    made = list(calls(suite, test, lambda: executor(BrokenStore, suite.concurrency)))
    assert made
    assert all(ends_well(call, SOON) for call in made)


def test_late_results_are_refused_by_their_fence_alone() -> None:
    (call,) = calls(
        Several,
        "test_a_late_result_is_not_taken_for_that_of_the_next_attempt",
        lambda: executor(HearsLateResults, Several.concurrency),
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
