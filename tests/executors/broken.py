"""Executors that each break one promise: the conformance suite must find every one of them."""

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any

from executors.memory import MemoryExecutor, MemoryRun, MemoryStore
from flows._context import current_grant
from flows._handlers import Handler
from flows._plan import Plan
from flows._shared_results import Owner, Shared, owner_of
from flows._verbs import End, FailedSettle, Grant, Reply, Settle, Want
from flows.executor import RunOptions


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
