"""WorkerCore: the decisions of a worker, without thread, clock, socket or randomness.

A driver feeds it events and carries out the effects it asks for; the thread driver and the simulator differ only in
how. One exchange is in flight at a time: it settles what has ended and claims the next jobs in one call. Each call
has a sequence number, so that a store can tell a repeated call from a new one.

::

    Woken, Due ─┐                      ┌─ Exchange(seq, settles, want)
    Ended       ├─> feed ── effects ──>├─ Start(grants)
    Replied     │                      ├─ Recall          (give unstarted claims back)
    Unanswered ─┤                      ├─ Log
    Drain      ─┘                      └─ Stop
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from typing import Final

from flows._state import CONTROL_QUEUE
from flows._verbs import End, Grant, Reply, RunBrief, Settle, Want

CLAIM_LIMIT: Final = 64
"""Jobs a call claims at most: larger batches are no faster, and all of them wait for their slowest."""

COSTLY_LIMIT: Final = 512
"""The same where each call is costly, as it commits to a disk."""

AHEAD_SECONDS: Final = 0.020
"""A worker claims its free slots plus what it will start within this time at the pace seen."""

UNSTARTED_SECONDS: Final = 1.0
"""Claims that have not started by then go back, so that another worker may have them."""

RETRY_SECONDS: Final = (0.1, 0.8)
"""First and longest wait before a call that was not answered is sent again: a store that is back is used within 1 s."""


class Woken:
    """There may be something to claim."""

    __slots__ = ()


class Due:
    """The instant `WorkerCore.wake_at` has come."""

    __slots__ = ()


class Drain:
    """Claim nothing more, give unstarted claims back, stop when the last attempt has ended."""

    __slots__ = ()


class Ended:
    """Attempts have ended, or claims are given back."""

    __slots__ = ("settles",)

    def __init__(self, settles: list[Settle]) -> None:
        self.settles = settles


class Replied:
    """The store has answered exchange *seq*."""

    __slots__ = ("reply", "seq")

    def __init__(self, seq: int, reply: Reply) -> None:
        self.seq = seq
        self.reply = reply


class Unanswered:
    """Exchange *seq* had no answer; whether the store carried it out is unknown."""

    __slots__ = ("error", "seq")

    def __init__(self, seq: int, error: BaseException) -> None:
        self.seq = seq
        self.error = error


class Exchange:
    """Settle *settles* and claim what *want* says, as call number *seq*."""

    __slots__ = ("seq", "settles", "want")

    def __init__(self, seq: int, settles: list[Settle], want: Want) -> None:
        self.seq = seq
        self.settles = settles
        self.want = want


class Start:
    """Run the jobs of *grants*, as soon as there are hands."""

    __slots__ = ("grants",)

    def __init__(self, grants: list[Grant]) -> None:
        self.grants = grants


class Recall:
    """Take the claims that have not started out of the line and report them `Ended` as released."""

    __slots__ = ()


class Log:
    """Something a person running the worker should know."""

    __slots__ = ("level", "text")

    def __init__(self, level: str, text: str) -> None:
        self.level = level
        self.text = text


class Stop:
    """Nothing is left to do and nothing more will be claimed."""

    __slots__ = ()


Event = Woken | Due | Drain | Ended | Replied | Unanswered
Effect = Exchange | Start | Recall | Log | Stop


class WorkerCore:
    """One exchange loop: what a worker holds, what it wants next, when it must act again.

    Args:
        slots: How many jobs it may run at once.
        run: Work for this run only; None for any.
        queues: Work for these queues only; None for any.
        ahead: Whether to claim a little more than the slots hold. Only where one line waits for the slots: two would
            each fill them.
        costly: Whether a call takes longer than many jobs: fewer and larger ones then, and none only to claim ahead.

    Attributes:
        held: Jobs granted and not yet settled.
    """

    def __init__(
        self,
        *,
        slots: int,
        run: RunBrief | None = None,
        queues: frozenset[str] | None = None,
        ahead: bool = True,
        costly: bool = False,
    ) -> None:
        self.slots = slots
        self._costly = costly
        self._limit = COSTLY_LIMIT if costly else CLAIM_LIMIT
        self.ahead = ahead
        self.run = run
        self.queues = None if queues is None else queues | {CONTROL_QUEUE}
        self.held = 0
        self.seq = 0
        self._flying: Exchange | None = None
        self._settles: list[Settle] = []
        self._look = False
        self._draining = False
        self._stopped = False
        self._failures = 0
        self._retry_at: float | None = None
        self._due_at: float | None = None
        self._recall_at: float | None = None
        self._pace = -1.0  # seconds a job; unknown
        self._former = math.inf
        self._suspects = 0
        self._effects: deque[Effect] = deque()

    @property
    def idle(self) -> bool:
        """Whether nothing is held, in flight or to be settled."""
        return not self.held and self._flying is None and not self._settles

    @property
    def wake_at(self) -> float | None:
        """When to feed `Due`, by the store's clock in seconds; None when nothing is timed."""
        at, retry_at, recall_at = self._due_at, self._retry_at, self._recall_at
        if retry_at is not None and (at is None or retry_at < at):
            at = retry_at
        if recall_at is not None and (at is None or recall_at < at):
            at = recall_at
        return at

    def feed(self, event: Event, now: float) -> None:
        """Take note of what happened at *now* and decide what to do about it."""
        if isinstance(event, Ended):
            self.ended(event.settles, now)
        elif isinstance(event, Replied):
            self.replied(event.seq, event.reply, now)
        else:
            if isinstance(event, Woken):
                self._look = True
            elif isinstance(event, Due):
                self._due(now)
            elif isinstance(event, Unanswered):
                self._unanswered(event, now)
            else:
                self._draining = True
                self._effects.append(Recall())
            self._decide()

    def idle_but_for(self, held: int) -> bool:
        """Whether nothing is in flight, waits to be settled or could be claimed, and just *held* jobs are held."""
        return self.held == held and self._flying is None and not self._settles and not self._look

    @property
    def at_rest(self) -> int:
        """How many jobs are held, where but for their outcomes nothing is to be decided: `link` may follow. Else 0."""
        if self._flying is not None or self._settles or self._look or self._draining or self._suspects or self._effects:
            return 0
        return self.held

    def link(self, settles: list[Settle]) -> Exchange:
        """As `ended` with the outcomes of all that is held, completed ones, where it is `at_rest`; the call to make."""
        count = len(settles)
        self._note_pace((settles[-1].ended_at - settles[0].started_at) / count)
        self.seq += 1
        want = Want(max(0, self._wanted(count)), self.run, self.queues, True, self.slots)
        self._flying = flying = Exchange(self.seq, settles, want)
        return flying

    def linked(self, seq: int, reply: Reply) -> bool:
        """As `replied`, where the answer is jobs and no more, which are begun at once; False: it is for `replied`."""
        flying, grants = self._flying, reply.grants
        if flying is None or seq != flying.seq or not grants or reply.more or reply.refused or reply.suspects:
            return False
        if self._failures or self._look or self._draining:
            return False
        self._flying = None
        self.held += len(grants) - len(flying.settles)
        self._due_at = reply.due_at
        self._recall_at = None if len(grants) == 1 else reply.now + UNSTARTED_SECONDS
        return True

    def effects(self) -> Iterator[Effect]:
        """What to carry out now, in order, what is decided meanwhile included; each effect is given once."""
        effects = self._effects
        while effects:
            yield effects.popleft()

    def ended(self, settles: list[Settle], now: float) -> None:
        """As ``feed(Ended(settles), now)``, for drivers in a hurry."""
        if self._settles:
            self._settles.extend(settles)
        else:
            self._settles = settles
        first = settles[0]
        if first.end is not End.RELEASED:
            # The pace is that of the whole worker, all its hands together: what decides how much to claim ahead.
            self._note_pace((settles[-1].ended_at - first.started_at) / len(settles))
        if self._flying is None:
            self._decide()

    def replied(self, seq: int, reply: Reply, now: float) -> None:
        """As ``feed(Replied(seq, reply), now)``, for drivers in a hurry."""
        flying = self._flying
        if flying is None or seq != flying.seq:
            return  # the late answer to a call that was sent again
        self._flying = None
        if self._failures:
            self._failures = 0
            self._retry_at = None
            self._effects.append(Log("info", "the store answers again"))
        grants = reply.grants
        self.held += len(grants) - len(flying.settles)
        if self._suspects:
            self._suspects -= sum(settle.grant.suspect for settle in flying.settles)
        self._suspects += reply.suspects
        if reply.more:  # and if it was woken since it asked, the answer knows nothing of that
            self._look = True
        self._due_at = reply.due_at
        for settle in reply.refused:
            self._effects.append(Log("info", f"the result of {settle.grant.said} came too late and was dropped"))
        if grants and self._draining:  # asked for before, answered since: they go back as they came
            self._settles += [Settle(grant, End.RELEASED, None, now, now) for grant in grants]
        elif grants:
            if self.run is None or self._costly:  # else nobody works for a worker that serves one run
                self._recall_at = now + UNSTARTED_SECONDS
            self._effects.append(Start(grants))
        elif not self.held:
            self._recall_at = None
        self._decide()

    def _note_pace(self, pace: float) -> None:
        if self._costly:  # where batches are large, one that was held up by another process says little
            pace, self._former = min(pace, self._former), pace
        self._pace = pace if pace > self._pace or self._pace < 0 else 0.8 * self._pace + 0.2 * pace

    def _unanswered(self, event: Unanswered, now: float) -> None:
        if self._flying is None or event.seq != self._flying.seq:
            return
        first, longest = RETRY_SECONDS
        if not self._failures:
            self._effects.append(Log("warning", f"the store does not answer: {event.error}"))
        self._retry_at = now + min(longest, first * 2.0 ** min(self._failures, 16))
        self._failures += 1

    def _due(self, now: float) -> None:
        if self._retry_at is not None and now >= self._retry_at and self._flying is not None:
            self._retry_at = None
            self._effects.append(self._flying)
        if self._due_at is not None and now >= self._due_at:
            self._due_at = None
            self._look = True
        if self._recall_at is not None and now >= self._recall_at:
            self._recall_at = None
            # It was too hopeful: what goes back now must not be claimed again with the same call.
            self._pace, self._former = -1.0, math.inf
            self._effects.append(Recall())

    def _decide(self) -> None:
        settles = self._settles
        if self._flying is None and (settles or self._look or self._draining):
            wanted = 0 if self._draining else self._wanted(len(settles))
            if settles or (self._look and wanted > 0 and (not self._costly or self.held < self.slots)):
                self.seq += 1
                self._settles = []
                self._look = False
                suspects = self._suspects - sum(settle.grant.suspect for settle in settles) if self._suspects else 0
                at_once = 0 if self._draining else self.slots - self.held + len(settles)
                want = Want(max(0, wanted), self.run, self.queues, not suspects, at_once)
                self._flying = Exchange(self.seq, settles, want)
                self._effects.append(self._flying)
            elif self._draining and not self.held and not self._stopped:
                self._stopped = True
                self._effects.append(Stop())

    def _wanted(self, settling: int) -> int:
        """How many jobs to claim: the free slots, and what will be started within `AHEAD_SECONDS`."""
        wanted = self.slots - self.held + settling
        pace = self._pace
        if pace >= 0 and self.ahead:
            wanted += self._limit if pace * self._limit <= AHEAD_SECONDS else int(AHEAD_SECONDS / pace)
        return wanted if wanted < self._limit else self._limit  # noqa: FURB136 - a call takes longer than the rest
