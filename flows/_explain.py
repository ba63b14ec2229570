"""Why a job waits, or why it ended so: in sentences, one idea a line, for whoever is on call.

A reading looks at each job's state once and walks edges with stacks of its own, so that a run of 100,000 jobs is
explained in about the time that it takes to look at them.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from flows import _state
from flows._machine import influence
from flows._state import CONTROL_QUEUE, KIND
from flows._typeset import count, line, spell
from flows._views import Attempt, end_state
from flows.errors import Failed

if TYPE_CHECKING:
    from flows.executor import RunRecord

LISTED = 10
"""How many jobs are named before the rest is only counted."""

_FEW = 5
"""How many of the lesser things are told: roots, earlier attempts, policies."""

_ENDS = ("completed", "failed", "skipped", "cancelled")
_CODES = {name: code for code, name in enumerate(_state.STATE_NAMES)}
_POLICIES = {code: policy for policy, code in _state.EFFECTS.items()}


def explain_job(record: RunRecord, job: int) -> str:
    """Why the job waits, or why it ended so."""
    return "\n".join(Reading(record).told(job))


def explain_run(record: RunRecord) -> str:
    """How far the run is, and the same of its roots."""
    reading = Reading(record)
    lines = [reading.headline()]
    for root in record.plan.roots[:_FEW]:
        lines += reading.told(root)
    if len(record.plan.roots) > _FEW:
        lines.append(f"... and {count(len(record.plan.roots) - _FEW, 'more root')}")
    return "\n".join(lines)


class Reading:
    """One look at a run. Jobs that go on meanwhile are told as they were at one moment or another of it."""

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self.now = record.now()
        # Lists add jobs while the run goes on: those that are there now are told.
        # Dependents before what they depend on: one that is seen to have ended has children that are seen to, too.
        self.states = [record.state_of(job) for job in reversed(range(len(record.plan)))][::-1]
        self.plan = record.plan  # after them: growing, a run may take another plan, which has all that they are due to

    def headline(self) -> str:
        """The run as a whole."""
        record, what = self.record, f"run {self.record.id} of {line(self.plan.name)}"
        ended_at = record.ended_at
        if ended_at is not None:
            return f"{what}: {end_state(record)} after {spell((ended_at - record.submitted_at).total_seconds())}"
        counts = Counter(self.states)
        for gone in tuple(self.plan.gone):
            counts[self._state(gone)] -= 1
        ended, jobs = sum(counts[end] for end in _ENDS), sum(counts.values())
        parts = [f"{ended:,} of {count(jobs, 'job')} {'has' if jobs == 1 else 'have'} ended"]
        parts += [f"{counts[state]:,} {state}" for state in ("active", "delayed", "waiting") if counts[state]]
        return f"{what}: running for {self._since(record.submitted_at)}, {', '.join(parts)}"

    def told(self, job: int) -> list[str]:
        """What there is to say of one job."""
        state = self.states[job]
        if state == "waiting_children":
            return self._waiting_children(job)
        if state in ("active", "delayed", "waiting"):
            return [f"{self._name(job)} {self._held(job)}", *self._earlier(job)]
        if state == "failed":
            return self._failed(job)
        if state == "skipped":
            return self._skipped(job)
        if state == "cancelled":
            return self._cancelled(job)
        return self._completed(job)

    # Jobs that go on

    def _waiting_children(self, job: int) -> list[str]:
        name = self._name(job)
        above, holders = self._holders(job)
        policies = self._policies(job)
        if not holders:
            return [f"{name} waits for nothing any more: its dependencies have ended, and it is about to be released"]
        if len(holders) == 1:
            chain = self._way(above, holders[0], job)
            way = [f"It is held up by way of {self._listed(chain)}."] if chain else []
            return [f"{name} waits for {self._holder(holders[0])}", *way, *policies]
        lines = [f"{name} waits for {count(len(holders), 'job')}:"]
        for holder in holders[:LISTED]:
            chain = self._way(above, holder, job)
            lines.append(f"- {self._holder(holder)}{f' (for {self._name(chain[-1])})' if chain else ''}")
        if len(holders) > LISTED:
            rest = Counter((self.states[other], self.plan.queues_of[other]) for other in holders[LISTED:])
            kinds = ", ".join(
                f"{number:,} {state} on queue {queue}" for (state, queue), number in rest.most_common(_FEW)
            )
            more = ", ..." if len(rest) > _FEW else ""
            lines.append(f"- and {len(holders) - LISTED:,} more: {kinds}{more}")
        return [*lines, *policies]

    def _holders(self, job: int) -> tuple[dict[int, int], list[int]]:
        """Who waits for whom below *job*, and those who wait for no other job: they hold it up."""
        open_below: dict[int, list[int]] = {}
        dependents = self.plan.dependents
        for child, state in enumerate(self.states):
            if state not in _ENDS and child not in self.plan.gone:
                for dependent in dependents[child]:
                    open_below.setdefault(dependent, []).append(child)
        above: dict[int, int] = {job: job}
        holders: list[int] = []
        line_up = deque((job,))
        while line_up:
            upper = line_up.popleft()
            for child in open_below.get(upper, ()):
                if child not in above:
                    above[child] = upper
                    if self.states[child] == "waiting_children" and child in open_below:
                        line_up.append(child)
                    else:
                        holders.append(child)
        order = {"active": 0, "delayed": 1, "waiting": 2}
        holders.sort(key=lambda other: (order.get(self.states[other], 3), other))
        return above, holders

    def _way(self, above: dict[int, int], holder: int, job: int) -> list[int]:
        """The jobs between *holder* and *job*, from below."""
        chain = []
        upper = above[holder]
        while upper != job:
            chain.append(upper)
            upper = above[upper]
        return chain

    def _holder(self, job: int) -> str:
        name, state = self._name(job), self._state(job)
        if state == "delayed":
            return f"{name}: {self._held(job).removeprefix('is delayed: ')}"
        return f"{name}, which {self._held(job)}"

    def _held(self, job: int) -> str:
        """What holds up a job that is delayed, waits for a worker, or runs."""
        state, queue = self._state(job), f"on queue {self.plan.queues_of[job]}"
        if self.plan.queues_of[job] == CONTROL_QUEUE and state in ("waiting", "active"):
            return "waits for a worker to look at its list" if state == "waiting" else "has its list looked at"
        attempts = self.record.attempts_of(job)
        last = attempts[-1] if attempts else None
        if state == "active":
            running = last if last is not None and last.end is None else None
            if running is None:
                return f"is being taken up {queue}"
            worker = "" if running.worker is None else f" on worker {line(running.worker)}"
            progress = self.record.progress_of(job)
            said = "" if progress is None else f", progress {line(progress)}"
            return f"has been running for {self._since(running.start)} {queue}: {self._try(job, running)}{worker}{said}"
        after = "" if last is None or last.error is None else f", after {self._error(last.error)}"
        if state == "delayed":
            due_at = self.record.due_at(job)
            when = "soon" if due_at is None else f"in {spell((due_at - self.now).total_seconds())}"
            if last is None:
                return f"is delayed: starts {when} {queue}, after a delay of {spell(self.plan.settings[job].delay)}"
            return f"is delayed: attempt {self._next(job, last)} {when} {queue}{after}"
        if state == "waiting_children":
            return "is about to be released"
        why, before = self.record.held_back(job), self.record.ahead_of(job)
        again = "" if last is None else f" for attempt {self._next(job, last)}"
        place = "" if not before else f", {count(before, 'job')} before it"
        return f"waits for a worker {queue}{again}{place}{after}" + ("" if why is None else f": {line(why)}")

    def _policies(self, job: int) -> list[str]:
        """What a failure of its dependencies did or would do to a job, where it is not simply to fail."""
        name, lines = self._name(job), []
        if job in self.plan.lists:
            return []  # a failed item costs its place in the list, or the list: nothing that one waits for
        for child, code in self._children(job):
            policy, state = _POLICIES[code & KIND], self._state(child)
            if policy == "fail" or state == "completed":
                continue
            what = {
                "ignore": f"{name} runs all the same",
                "remove": f"{name} runs as if it had never been there",
                "continue": f"{name} runs at once",
                "skip": f"{name} is skipped, once the rest has ended",
            }[policy]
            condition = f"{self._name(child)} was {state}" if state in ("skipped", "cancelled") else None
            if state == "failed":
                condition = f"{self._name(child)} failed"
            told = f"If {self._name(child)} fails, {what}" if condition is None else f"{condition}: {what}"
            lines.append(f"{told} (policy {policy}).")
        more = [f"... and {len(lines) - _FEW:,} more dependencies with a policy"] if len(lines) > _FEW else []
        return lines[:_FEW] + more

    # Jobs that have ended

    def _failed(self, job: int) -> list[str]:
        first = self.record.first_cause(job)
        if first != job:
            return self._because(job, "failed", first)
        error = self.record.failed(job)
        attempts = self.record.attempts_of(job)
        if not attempts or attempts[-1].outcome not in ("failed", "lost"):  # that of a former life of the run
            return [f"{self._name(job)} failed without having started: {self._error(error)}"]
        last = attempts[-1]
        lines = [f"{self._name(job)} failed: {self._error(error)} ({self._try(job, last)}, {self._lasted(last)})"]
        if last.outcome == "failed" and last.number < self.plan.settings[job].attempts:
            lines.append("It was not tried again: an error like this one gives up.")
        return lines + self._earlier(job)

    def _skipped(self, job: int) -> list[str]:
        first = self.record.first_cause(job)
        if first != job:
            return self._because(job, "was skipped", first)
        attempts = self.record.attempts_of(job)
        who = " by its handler" if attempts and attempts[-1].outcome == "skipped" else ""
        return [f"{self._name(job)} was skipped{who}: {line(self.record.failed(job).message) or 'no reason'}"]

    def _cancelled(self, job: int) -> list[str]:
        attempts = self.record.attempts_of(job)
        lines = [f"{self._name(job)} was cancelled: {line(self.record.failed(job).message)}"]
        if attempts and attempts[-1].outcome == "cancelled":
            lines.append(f"It was running: {self._try(job, attempts[-1])} ended {self._lasted(attempts[-1])}.")
        else:
            lines.append("It was not running." if attempts else "It had not started.")
        return lines + self._earlier(job)

    def _completed(self, job: int) -> list[str]:
        attempts = self.record.attempts_of(job)
        if not attempts:
            return [f"{self._name(job)} completed"]
        last = attempts[-1]
        worker = "" if last.worker is None else f" on worker {line(last.worker)}"
        queue = self.plan.queues_of[job]
        lines = [f"{self._name(job)} completed in {self._span(last)} on queue {queue}: {self._try(job, last)}{worker}"]
        missing = [
            child for child, _ in self._children(job) if self.states[child] in ("failed", "skipped", "cancelled")
        ]
        lines += [f"It ran without {self._name(child)}, which {self._ended(child)}." for child in missing[:_FEW]]
        if len(missing) > _FEW:
            lines.append(f"... nor with {len(missing) - _FEW:,} more")
        return lines + self._earlier(job)

    def _because(self, job: int, what: str, first: int) -> list[str]:
        attempts = self.record.attempts_of(first)
        tries = f" ({self._try(first, attempts[-1])})" if attempts else ""
        told = f"{self._name(job)} {what} because {self._name(first)} {self._ended(first)}"
        lines = [f"{told}: {self._error(self.record.failed(first))}{tries}"]
        between = self._between(first, job)
        if between:
            lines.append(f"Between them: {self._listed(between)}.")
        return lines

    def _between(self, first: int, job: int) -> list[int]:
        """A shortest chain of jobs over which the end of *first* reached *job*."""
        below: dict[int, int] = {first: first}
        line_up = deque((first,))
        while line_up and job not in below:
            lower = line_up.popleft()
            end, codes = _CODES[self._state(lower)], self.plan.effects.get(lower)
            for position, dependent in enumerate(self.plan.dependents[lower]):
                if (
                    dependent < len(self.states)
                    and dependent not in below
                    and influence(end, codes[position] if codes else 0) is not None
                ):
                    below[dependent] = lower
                    line_up.append(dependent)
        chain: list[int] = []
        lower = below.get(job, first)
        while lower != first:
            chain.append(lower)
            lower = below[lower]
        return chain[::-1]

    # Words

    def _name(self, job: int) -> str:
        return line(self.plan.ids[job])

    def _listed(self, jobs: Sequence[int]) -> str:
        names = ", ".join(map(self._name, jobs[:LISTED]))
        return names if len(jobs) <= LISTED else f"{names} and {len(jobs) - LISTED:,} more"

    def _ended(self, job: int) -> str:
        state = self._state(job)
        return "failed" if state == "failed" else f"was {state}"

    def _state(self, job: int) -> str:
        return self.states[job] if job < len(self.states) else self.record.state_of(job)

    def _children(self, job: int) -> list[tuple[int, int]]:
        """The dependencies of a job with the code of the edge, in run order."""
        effects, found = self.plan.effects, []
        for child, dependents in zip(range(len(self.states)), self.plan.dependents, strict=False):
            if job in dependents and child not in self.plan.gone:
                codes = effects.get(child)
                found.append((child, codes[list(dependents).index(job)] if codes else 0))
        return found

    def _try(self, job: int, attempt: Attempt) -> str:
        return f"attempt {attempt.number}/{max(attempt.number, self.plan.settings[job].attempts)}"

    def _next(self, job: int, last: Attempt) -> str:
        most, number = self.plan.settings[job].attempts, last.number  # one that was released or lost is made up for
        if last.outcome not in ("released", "lost"):
            number = (
                number + 1 if last.outcome == "failed" and number < most else 1
            )  # 1: the job was given new attempts
        return f"{number}/{max(number, most)}"

    def _earlier(self, job: int) -> list[str]:
        """The attempts before the one that was told already, the last few of them."""
        attempts = [one for one in self.record.attempts_of(job) if one.end is not None]
        if self._state(job) not in ("active", "cancelled") or (attempts and attempts[-1].outcome == "cancelled"):
            attempts = attempts[:-1]
        told = [
            f"- {self._try(job, one)} {one.outcome}, {self._lasted(one)}"
            + ("" if one.error is None else f": {self._error(one.error)}")
            for one in attempts[-_FEW:]
        ]
        if len(attempts) > _FEW:
            told.insert(0, f"- {count(len(attempts) - _FEW, 'earlier attempt')}")
        return ["Before that:", *told] if told else []

    def _error(self, failed: Failed) -> str:
        message = failed.message.removeprefix(f"{failed.job}: ")  # the library's own errors name the job themselves
        return line(f"{failed.type}: {message}".removesuffix(": "))

    def _lasted(self, attempt: Attempt) -> str:
        return f"after {self._span(attempt)}"

    def _span(self, attempt: Attempt) -> str:
        return spell(((attempt.end or self.now) - attempt.start).total_seconds())

    def _since(self, instant: datetime) -> str:
        return spell((self.now - instant).total_seconds())
