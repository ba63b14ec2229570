"""The driver of one simulated worker: moves events and effects between its real cores, the store and the handlers.

The cores are those of production. Beside them it has the line of claimed jobs, the attempts that run, and when it is to
look again. What happens to it comes in by `feed`; effects go out as calls of the world's store and as attempts, whose
ends are put on the one heap.
"""

from __future__ import annotations

import functools
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from flows._control import control
from flows._handlers import judge_error, perform
from flows._keeper import Dropped, Held, KeeperCore
from flows._verbs import End, Grant, Reply, Settle
from flows._worker import (
    Drain,
    Due,
    Ended,
    Event,
    Exchange,
    Recall,
    Start,
    Stop,
    Unanswered,
    Woken,
    WorkerCore,
)
from flows.errors import JobTimeoutError
from flows.testing._attempts import Died, SimulatedAttempt, failure_of
from flows.testing._keeping import Keeping
from flows.testing._real_time import Violation
from flows.testing._virtual_time import HIRED_AFTER as HIRED_AFTER

if TYPE_CHECKING:
    from flows.testing._async_jobs import AsyncJobs
    from flows.testing._faults import Fault
    from flows.testing._memory import SimulatedRun
    from flows.testing._virtual_loop import VirtualLoop
    from flows.testing._world import World

UNANSWERED_SECONDS: Final = 1.0
"""How long a worker waits for an answer before it takes the call for lost."""

NOTICED_AFTER: Final = (0.0, 3.0, 10.0)
TAKES: Final = (0.0, 0.3, 5.0)
NETWORK: Final = ("fine", "lost_reply", "lost_call", "doubled_call", "late_call")


class SimulatedWorker(Keeping):
    """One worker process: a `WorkerCore`, its `KeeperCore`, an event loop of its own where it needs one.

    Attributes:
        asked_at: When the last answer of the store was asked for.
        gone: Whether the process has ended; nothing that was to happen in it happens any more.
        frozen_until: The instant until which nothing happens in it.
    """

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.core = WorkerCore(slots=world.slots, ahead=not world.mixed)
        self.keeper = KeeperCore(world.now, world.lease)
        self.line: deque[Grant] = deque()
        self.running: dict[Grant, SimulatedAttempt] = {}
        self.attempts: dict[Grant, SimulatedAttempt] = {}
        self.loop: VirtualLoop | None = None
        self.gone = self.woken = self.beating = False
        self.frozen_until = 0.0
        self._lines: dict[Any, AsyncJobs] = {}
        self._asked: dict[int, float] = {}
        self.asked_at = 0.0
        self._armed_at: float | None = None

    def feed(self, event: Event) -> None:
        """Something has happened; the worker does what its core makes of it."""
        self.core.feed(event, self.world.told)
        self._act()

    def _act(self) -> None:
        """Do what the core wants."""
        effects = self.core._effects
        while effects:
            effect = effects.popleft()
            if isinstance(effect, Exchange):
                self._send(effect)
            elif isinstance(effect, Start):
                # A lease runs from the moment of asking, however late the answer.
                self.keeper.feed(Held(effect.grants), self.asked_at)
                self._place(effect.grants)
                self.look_after()
            elif isinstance(effect, Recall):
                self._recall()
            elif isinstance(effect, Stop):
                self.world.note(self.name, "leaves")
                self.leave()
                return
        if self.line:
            self._start()
        self.world.stirred[self] = None

    def arm(self) -> None:
        """See to it that the core is woken in time; what was to wake it before then looks again."""
        wake_at, armed_at = self.core.wake_at, self._armed_at
        if wake_at is not None and (armed_at is None or wake_at < armed_at):
            self._armed_at = wake_at
            self.world.at_clock(wake_at, self._due, self)

    def rearm(self) -> None:
        """As `arm`, after the store's clock has jumped."""
        self._armed_at = None
        self.arm()

    def _due(self) -> None:
        wake_at, now = self.core.wake_at, self.world.clock()
        if self._armed_at is not None and self._armed_at <= now:
            self._armed_at = None
        if wake_at is not None and wake_at <= now:
            self.feed(Due())
        else:
            self.arm()

    def wake(self) -> None:
        """There may be something to claim."""
        self.woken = False
        self.feed(Woken())

    def vanish(self) -> None:
        """Its process is killed."""
        self.world.note(self.name, "crashes")
        self.die()

    def loop_here(self) -> VirtualLoop:
        """The event loop of the process."""
        if self.loop is None:
            self.loop = self.world.new_loop(self)
        return self.loop

    def drain(self) -> None:
        """Told to stop: it ends what it runs."""
        self.world.note(self.name, "drains")
        self.feed(Drain())

    def die(self) -> None:
        """From one moment to the next."""
        if not self.gone:
            for attempt in self.attempts.values():
                self._lose(attempt)
            self.leave()

    def close(self) -> None:
        """The simulation is over: what still runs has no effect any more."""
        if self.loop is not None and not self.gone:
            for attempt in self.attempts.values():
                attempt.dead = True
            self.loop.die()

    def leave(self) -> None:
        """The process ends; another is started some time later."""
        self.gone = True
        if self.loop is not None:
            self.loop.die()
        self.running.clear()
        self.line.clear()
        self.world.left(self)

    def _lose(self, attempt: SimulatedAttempt) -> None:
        attempt.dead = True
        if attempt.settled_at is None:
            attempt.outcome, attempt.ended_at = "crashed", self.world.elapsed()

    def hang(self, attempt: SimulatedAttempt, fault: Fault) -> None:
        """The handler takes longer; if nothing is renewed meanwhile, that is since the whole process hangs."""
        world = self.world
        length = 1.5 * world.lease if fault.kind == "duplicate" else fault.seconds or 0.0
        world.note(self.name, "is cut off" if fault.kind == "duplicate" else "hangs", attempt, f"for {length:g} s")
        if not fault.renewed:
            self.freeze(length)
        elif attempt.called:
            attempt.spent += length
            attempt.extra += length
        if fault.kind == "duplicate":
            world.have_another(self)

    def freeze(self, length: float) -> None:
        """Nothing happens in the process for a while: what comes meanwhile waits."""
        self.frozen_until = max(self.frozen_until, self.world.now + length)

    def _send(self, call: Exchange) -> None:
        world = self.world
        self._asked.setdefault(call.seq, world.now)
        kind, seconds = world.delivery("exchange", NETWORK)
        if kind == "fine":
            world.at(seconds, functools.partial(self._arrive, call, True))
            return
        world.note(self.name, f"exchange {call.seq}: {kind.replace('_', ' ')}")
        if kind != "lost_call":
            world.at(seconds, functools.partial(self._arrive, call, kind != "lost_reply"))
        if kind == "doubled_call":
            world.at(world.choices((0.0, 0.02, 3.0)), functools.partial(self._arrive, call, True))
        if kind in ("lost_reply", "lost_call", "late_call"):
            lost = Unanswered(call.seq, TimeoutError("no answer"))
            world.at(UNANSWERED_SECONDS, functools.partial(self.feed, lost), self)

    def _arrive(self, call: Exchange, answered: bool) -> None:
        world = self.world
        if world.now < world.down_until:
            lost = Unanswered(call.seq, TimeoutError("no answer"))
            world.at(UNANSWERED_SECONDS, functools.partial(self.feed, lost), self)
            return
        reply = world.exchange(self, call)
        if reply is None or self.gone or not answered:
            return
        if self.frozen_until > world.now:
            world.at(0.0, functools.partial(self._replied, call, reply), self)
        else:
            self.asked_at = self._asked[call.seq]
            self.core.replied(call.seq, reply, world.told)
            self._act()

    def _replied(self, call: Exchange, reply: Reply) -> None:
        self.asked_at = self._asked[call.seq]
        self.core.replied(call.seq, reply, self.world.told)
        self._act()

    def _place(self, grants: list[Grant]) -> None:
        for grant in grants:
            if grant.run.handlers[grant.job].is_async and not grant.control:
                self.jobs_of(grant.run).line.put([grant])
            else:
                self.line.append(grant)

    def jobs_of(self, run: Any) -> AsyncJobs:
        """The async jobs of a run on this worker's loop."""
        jobs = self._lines.get(run)
        if jobs is None:
            from flows.testing._async_jobs import AsyncJobs  # asyncio, where a handler is async

            jobs = self._lines[run] = AsyncJobs(self, run)
        return jobs

    def _start(self) -> None:
        line, world = self.line, self.world
        while line and len(self.running) < world.slots and not self.gone:
            grant = self._next() if len(line) > 1 else line.popleft()
            run: Any = grant.run
            if grant.control:
                self.conclude(control(grant, world.clock))
            elif run.state.cancelling:
                now = world.clock()
                self.conclude(Settle(grant, End.CANCELLED, None, now, now))
            elif not self.keeper.lasts(grant, self.asked_at, world.now):
                self._give_back([grant])
            else:
                self._run(grant)

    def _next(self) -> Grant:
        """Of those that start now, each in a thread of its own, any may be the first."""
        rivals = min(len(self.line), self.world.slots - len(self.running))
        place = self.world.choices(range(rivals)) if rivals > 1 else 0
        self.line.rotate(-place)
        grant = self.line.popleft()
        self.line.rotate(place)
        return grant

    def _run(self, grant: Grant) -> None:
        """Make an attempt in this thread, here and now; that it has ended is heard of when its time is over."""
        world = self.world
        try:
            attempt = self.begin(grant)
        except Died:
            self.die()
            return
        run: Any = grant.run
        early = world.before(grant) if run.shares else None
        if early is not None:
            self.conclude(early, attempt)
            return
        self.running[grant] = attempt
        timeout = run.plan.settings[grant.job].timeout
        if timeout is not None:
            world.at(timeout, functools.partial(self._time_out, attempt, grant, world.clock(), timeout), self)
        wait = attempt.pause() if attempt.fate else 0.0
        if wait or self.frozen_until > world.now:
            world.at(wait, functools.partial(self._call, attempt, grant), self)
        else:
            self._call(attempt, grant)

    def _call(self, attempt: SimulatedAttempt, grant: Grant) -> None:
        world = self.world
        if grant not in self.running:
            return  # it has timed out
        world.entered = attempt
        run: Any = grant.run
        try:
            clock = world.starting(grant, attempt.clock) if run.rated else attempt.clock
            settle = self._traced(grant)(grant, clock)
        except (Died, Violation):
            self.die()
            return
        except BaseException as error:
            settle = judge_error(grant, failure_of(error), world.clock(), world.clock())
        world.at(attempt.spent, functools.partial(self._end, attempt, settle), self)

    def _traced(self, grant: Grant) -> Any:
        run: Any = grant.run
        return perform if run.tracing is None else run.tracing.around(perform, self.name)

    def begin(self, grant: Grant) -> SimulatedAttempt:
        """An attempt begins.

        Raises:
            Died: It does not get that far.
        """
        attempt = self.attempts[grant] = self.world.begin(self, grant)
        if attempt.fate and attempt.crashes("before_start"):
            raise Died
        return attempt

    def _time_out(self, attempt: SimulatedAttempt, grant: Grant, start: float, timeout: float) -> None:
        """A handler in a thread cannot be stopped: its attempt fails, and its late result will be dropped."""
        if self.running.pop(grant, None) is not None:
            grant.stop = grant.stop or "the attempt timed out"
            error = JobTimeoutError(f"timeout of {timeout:g} s passed", job=attempt.job)
            self.conclude(judge_error(grant, error, start, self.world.clock()), attempt)

    def _end(self, attempt: SimulatedAttempt, settle: Settle) -> None:
        if self.running.pop(settle.grant, None) is None:
            return  # it has timed out
        if attempt.fate and attempt.crashes("before_settle"):
            self.die()
        else:
            run: Any = settle.grant.run
            if run.shares:
                settle = self.world.after(settle)
            self._note_end(settle, attempt)
            self.core.ended([settle], self.world.told)
            self._act()

    def ended(self, settle: Settle) -> Settle | None:
        """An async attempt has ended; None where the worker does not live to tell."""
        attempt = self.attempts.get(settle.grant)
        if attempt is not None and attempt.crashes("before_settle"):
            self.die()
            return None
        return settle

    def conclude(self, settle: Settle, attempt: SimulatedAttempt | None = None) -> None:
        """An attempt has ended: the keeper need not look after it, the core will be told."""
        self._note_end(settle, attempt)
        self.world.at(0.0, functools.partial(self.feed, Ended([settle])), self)

    def _note_end(self, settle: Settle, attempt: SimulatedAttempt | None) -> None:
        self.keeper.feed(Dropped([settle.grant]), self.world.now)
        if attempt is not None:
            self.world.concluded(attempt, settle)

    def _recall(self) -> None:
        recalled = [*self.line, *(grant for jobs in self._lines.values() for grant in jobs.line.recall())]
        self.line.clear()
        self._give_back(recalled)

    def _give_back(self, grants: list[Grant]) -> None:
        if grants:
            now = self.world.clock()
            self.keeper.feed(Dropped(grants), self.world.now)
            settles = [Settle(grant, End.RELEASED, None, now, now) for grant in grants]
            self.world.at(0.0, functools.partial(self.feed, Ended(settles)), self)

    def interrupted(self, run: SimulatedRun) -> None:
        """The run was cancelled; the worker notices by and by."""
        if not self.gone:
            after = self.world.choices(NOTICED_AFTER)
            self.world.at(after, functools.partial(self._interrupt, run), self)

    def _interrupt(self, run: SimulatedRun) -> None:
        for grant in self.running:
            if grant.run is run:
                grant.stop = grant.stop or "the run was cancelled"
        if run in self._lines:
            self._lines[run].line.interrupt()
        self._start()

    def stop(self, grant: Grant, why: str) -> None:
        """The lease of *grant* is lost: its handler is told to stop; where it has not begun, it goes back."""
        grant.stop = grant.stop or why
        jobs = self._lines.get(grant.run)
        for waiting in (self.line, *(() if jobs is None else (jobs.line.waiting,))):
            if grant in waiting:
                waiting.remove(grant)
                self._give_back([grant])
                return
        if jobs is not None and jobs.line.stop(grant):
            jobs.lost.add(grant)
