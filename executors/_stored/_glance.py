"""A glance at a run: how its jobs stand, asked of the store one by one, or all together when many are asked about."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Final

from executors._stored._reading import JobFacts, ListFacts, Reader, RunFacts
from flows._state import COMPLETED

SINGLE: Final = 8
"""So many answers are fetched one by one; who asks for more, and at once, gets the rest from one look at all jobs."""

PAUSE_SECONDS: Final = 0.002
"""Whoever takes longer between two questions is not about to ask for all jobs, and wants to know how it is now."""

GLANCE_SECONDS: Final = 0.02
"""How long a look at all jobs is good for; longer where it took long itself."""

BLOCK: Final = 512
"""Results that are fetched together."""


class Glance:
    """What one record knows at the moment. Each thread that reads has its own.

    A look at all jobs is only used by the thread that made it, while its questions come one upon the other: what
    happens between them is then what happens at the same time.
    """

    def __init__(self, reader: Reader, run: str) -> None:
        self._reader = reader
        self._run = run
        self._local = threading.local()
        self._dropped = 0

    def drop(self) -> None:
        """Whoever looks next looks anew."""
        self._dropped += 1

    def __getitem__(self, job: int) -> JobFacts:
        look = self._look()
        if look.jobs is None and look.asked <= SINGLE:
            (facts,) = self._reader.jobs(self._run, (job,))
            look.answered()
            return facts
        return self._all(look)[job]

    def all(self) -> Sequence[JobFacts]:
        """How all jobs stand, by row."""
        return self._all(self._look())

    def run_facts(self) -> RunFacts:
        """How the run stands: always asked of the store."""
        look = self._look(asking=False)
        facts = self._reader.facts(self._run)
        look.answered()
        if look.generation != facts.generation or (facts.ended and not look.ended):
            look.renew()
        look.generation, look.ended = facts.generation, facts.ended
        return facts

    def lists(self) -> tuple[Sequence[ListFacts], int]:
        """The lists that are expanded, and how many rows there are."""
        look = self._look()
        if look.lists is None:
            look.lists = self._reader.lists(self._run), self._reader.facts(self._run).size
            look.answered()
        return look.lists

    def has_history(self, job: int) -> bool:
        """Whether a job has earlier attempts."""
        look = self._look()
        if look.histories is None:
            look.histories = frozenset(self._reader.histories(self._run))
            look.answered()
        return job in look.histories

    def payload(self, job: int) -> bytes | None:
        """The value of a job that completed, or its own failure."""
        look = self._look()
        if look.asked <= SINGLE or look.jobs is None:
            (payload,) = self._reader.payloads(self._run, (job,))
            look.answered()
            return payload
        first = job - job % BLOCK
        if look.block != first:
            jobs = [
                one for one in range(first, min(first + BLOCK, len(look.jobs))) if look.jobs[one].state >= COMPLETED
            ]
            look.payloads = dict(zip(jobs, self._reader.payloads(self._run, jobs), strict=True))
            look.block = first
            look.answered()
        return look.payloads.get(job)

    def first_cause(self, job: int) -> int:
        """Down the chain of causes to the job that went wrong by itself."""
        firsts = self._look().firsts
        seen, facts = job, self[job]
        while not facts.has_failure and facts.cause >= 0:
            seen = firsts.get(facts.cause, facts.cause)
            facts = self[seen]
        if seen != job:
            firsts[job] = seen
        return seen

    def _all(self, look: _Look) -> Sequence[JobFacts]:
        if look.jobs is None:
            begun = time.monotonic()
            look.jobs = self._reader.jobs(self._run, None)
            look.answered()
            look.until = look.last + max(GLANCE_SECONDS, 4 * (look.last - begun))
        return look.jobs

    def _look(self, *, asking: bool = True) -> _Look:
        look: _Look | None = getattr(self._local, "look", None)
        now = time.monotonic()
        if look is None:
            look = self._local.look = _Look()
        if look.dropped != self._dropped or now - look.last > PAUSE_SECONDS or (look.jobs and now > look.until):
            if now - look.last > PAUSE_SECONDS:
                look.asked = 0
            look.renew()
            look.dropped = self._dropped
        look.last = now
        look.asked += asking
        return look


class _Look:
    """What one thread sees at the moment."""

    __slots__ = (
        *("asked", "block", "dropped", "ended", "firsts", "generation", "histories", "jobs"),
        *("last", "lists", "payloads", "until"),
    )  # fmt: skip

    def __init__(self) -> None:
        self.asked = self.dropped = self.generation = 0
        self.ended = False
        self.last = self.until = 0.0
        self.renew()

    def answered(self) -> None:
        """However long the answer took, as over a network, the pause of whoever asked begins with it."""
        self.last = time.monotonic()

    def renew(self) -> None:
        """Forget what was seen."""
        self.jobs: Sequence[JobFacts] | None = None
        self.lists: tuple[Sequence[ListFacts], int] | None = None
        self.histories: frozenset[int] | None = None
        self.firsts: dict[int, int] = {}
        self.block = -1
        self.payloads: dict[int, bytes | None] = {}
