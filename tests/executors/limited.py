"""Crews of several runs around one store with limited queues: real cores, virtual time, an order that is drawn.

Nothing here looks twice: a core acts when the store wakes its run, when it is due, and when an attempt of its own has
ended. So what the store forgets to say stays undone, and the play ends with runs that have not.
"""

import random
from collections.abc import Callable, Mapping

from executors.memory import MemoryRun, MemoryStore
from flows._plan import Plan
from flows._state import ACTIVE, STATE_NAMES
from flows._verbs import End, FailedSettle, Grant, Settle
from flows._worker import Due, Ended, Event, Exchange, Start, Woken, WorkerCore
from tests.executors.columns import Clock, put

AFTER = (0.0, 0.4)
"""Seconds until a retry."""


class World:
    """The store, the clock, the crews; and a record of the starts on each queue.

    Args:
        limits: Queue -> its concurrency and its rate, of which nothing may ever see more.
    """

    def __init__(
        self, luck: random.Random, limits: Mapping[str, tuple[int | None, tuple[int, float] | None]], *, slots: int
    ) -> None:
        self.luck = luck
        self.limits = limits
        self.slots = slots
        self.clock = Clock()
        self.store = MemoryStore(clock=self.clock, epoch=0.0)
        self.crews: list[LimitedCrew] = []
        self.starts: dict[str, list[float]] = {queue: [] for queue in limits}
        self.peaks = dict.fromkeys(limits, 0)

    def submit(self, plan: Plan[object]) -> "LimitedCrew":
        crew = LimitedCrew(self, put(self.store, plan))
        self.crews.append(crew)
        crew.feed(Woken())
        return crew

    def play(self) -> None:
        """Until nothing can happen any more."""
        for _ in range(100_000):
            able = [action for crew in self.crews for action in crew.actions()]
            if able:
                self.luck.choice(able)()
            else:
                times = [crew.core.wake_at for crew in self.crews if not crew.run.ended]
                instants = [at for at in times if at is not None]
                if not instants:
                    return
                assert min(instants) > self.clock.now, "due now, and nobody able"
                self.clock.now = min(instants)
            self.check()
        raise AssertionError("no end")

    def check(self) -> None:
        for queue, (concurrency, _) in self.limits.items():
            active = sum(
                crew.run.state.state[job] == ACTIVE
                for crew in self.crews
                for job, place in enumerate(crew.run.plan.queues_of)
                if place == queue
            )
            self.peaks[queue] = max(self.peaks[queue], active)
            assert concurrency is None or active <= concurrency, f"{active} active on {queue}"
            seen = self.store.limit_of(queue)
            assert seen is None or seen.active == active, "what the store believes"

    def check_rates(self) -> None:
        for queue, (_, rate) in self.limits.items():
            if rate is not None:
                count, period = rate
                starts = self.starts[queue]
                assert all(later >= first + period for first, later in zip(starts, starts[count:], strict=False)), queue

    def unended(self) -> list[list[str]]:
        return [[STATE_NAMES[code] for code in crew.run.state.state] for crew in self.crews if not crew.run.ended]


class LimitedCrew:
    """Works one run off: claims at once, starts and ends attempts when it is chosen to."""

    def __init__(self, world: World, run: MemoryRun) -> None:
        self.world = world
        self.run = run
        self.core = WorkerCore(slots=world.slots, run=run)
        self.line: list[Grant] = []
        self.running: dict[Grant, float] = {}
        self.woken = False
        run.wakers.append(self.wake)

    def wake(self) -> None:
        assert not self.world.store._lock.locked(), "woken under the lock"
        self.woken = True

    def actions(self) -> list[Callable[[], None]]:
        able: list[Callable[[], None]] = []
        if self.run.ended:
            return able
        if self.woken:
            able.append(lambda: self.feed(Woken()))
        if self.core.wake_at is not None and self.core.wake_at <= self.world.clock.now:
            able.append(lambda: self.feed(Due()))
        if self.line and len(self.running) < self.world.slots:
            able.append(self.start)
        if self.running:
            able.append(self.end)
        return able

    def feed(self, event: Event) -> None:
        store, clock = self.world.store, self.world.clock
        if isinstance(event, Woken):
            self.woken = False
        self.core.feed(event, clock.now)
        for calls, effect in enumerate(self.core.effects()):
            assert calls < 1_000, "goes round and round"
            if isinstance(effect, Exchange):
                reply = store.exchange(self.run.id, effect.seq, effect.settles, effect.want, self.run.id)
                assert reply.due_at is None or reply.due_at > clock.now
                self.core.replied(effect.seq, reply, clock.now)
            elif isinstance(effect, Start):
                self.line += effect.grants

    def start(self) -> None:
        grant = self.line.pop(0)
        queue, clock = self.run.plan.queues_of[grant.job], self.world.clock
        clock.now += self.world.luck.choice((0.0, 0.0, 0.01, 0.3))  # a start may come late
        at = self.world.store.began(grant)
        self.running[grant] = at
        self.world.starts.setdefault(queue, []).append(at)

    def end(self) -> None:
        luck, clock = self.world.luck, self.world.clock
        grant = luck.choice(list(self.running))
        clock.now += luck.choice((0.0, 0.0, 0.05, 1.0))
        begun = self.running.pop(grant)
        end = luck.choice((End.COMPLETED, End.COMPLETED, End.RETRY, End.FAILED, End.SKIPPED, End.RELEASED))
        if end is End.COMPLETED:
            self.feed(Ended([Settle(grant, end, None, begun, clock.now)]))
        else:
            after = luck.choice(AFTER) if end is End.RETRY else 0.0
            self.feed(Ended([FailedSettle(grant, end, ValueError("drawn"), begun, clock.now, after)]))

    def give_back(self) -> None:
        """Release all claims that have not started."""
        now = self.world.clock.now
        if self.line:
            back, self.line = self.line, []
            self.feed(Ended([Settle(grant, End.RELEASED, None, now, now) for grant in back]))

    def stop(self, how: str) -> None:
        """The run is cancelled, or abandoned by its caller."""
        if how == "abandon":
            self.world.store.abandon(self.run, "chosen")
            self.line.clear()
            self.running.clear()
        else:
            self.world.store.cancel(self.run, "chosen")
            self.give_back()
