"""Flows and faults made from one number: what our own simulations run through, thousands of times.

``python -m tests.testing.seeded --first 17 --seeds 1`` plays one of them and says what it was.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable
from typing import Any

import flows
from flows.testing import EffectLedger, Fault, Trace, check_all, simulate
from flows.testing._drawn_flows import BACKOFFS, POLICIES, DrawnEdge, DrawnFlow, DrawnJob, built
from flows.testing._faults import FAIL_POINTS, POINTS, VERBS, Point

LENGTHS = (0.5, 5.0, 20.0, 45.0, 120.0)
INSTANTS = (0.0, 0.5, 1.0, 5.0, 31.0, 100.0)
STEPS = (1.0, 60.0, 3_600.0, -1.0, -60.0)


def flow_of(luck: random.Random) -> DrawnFlow:
    """Up to 10 jobs in any shape, with any options; every third flow has a list."""
    size = luck.randint(1, 10)
    rows = [_row(luck, number) for number in range(size)]
    if luck.random() < 0.3:
        place = luck.randrange(size)
        options = tuple((name, value) for name, value in rows[place].options if value != "continue")
        rows[place] = rows[place]._replace(options=options, items=luck.randint(0, 4), limit=luck.choice((None, 1, 2)))
    return built(rows)


def _row(luck: random.Random, number: int) -> DrawnJob:
    children = sorted(luck.sample(range(number), min(number, luck.randint(0, 3))))
    edges = tuple(DrawnEdge(child, luck.choice(("value", "value", "optional", "order"))) for child in children)
    options: dict[str, Any] = {}
    if luck.random() < 0.5:
        options |= {"attempts": luck.randint(2, 4), "backoff": luck.choice(BACKOFFS[1:])}
    if luck.random() < 0.3:
        options["on_failure"] = luck.choice(POLICIES)
    if luck.random() < 0.2:
        options["delay"] = luck.choice((1.0, 40.0))
    if luck.random() < 0.2:
        options["timeout"] = luck.choice((10.0, 60.0))
    if luck.random() < 0.2:
        options["priority"] = luck.randint(0, 2)
    condition = luck.random() < 0.7 if luck.random() < 0.15 else None
    return DrawnJob(edges, tuple(options.items()), is_async=luck.random() < 0.3, condition=condition)


def faults_of(luck: random.Random, flow: DrawnFlow) -> list[Fault]:
    """Up to four of any kind."""
    limits = {f"job-{number}": dict(row.options).get("attempts", 1) for number, row in enumerate(flow.rows)}
    jobs = list(limits)
    job, times = (lambda: luck.choice(jobs)), (lambda: luck.choice((1, 1, 2, None)))

    def crash(job: str, at: Point, times: int | None, attempt: int | None) -> Fault:
        return Fault.crash(job, at=at, times=times, attempt=attempt and min(attempt, limits[job]))

    makers: list[Callable[[], Fault]] = [
        lambda: Fault.fail(job(), times=times(), at=luck.choice(FAIL_POINTS)),
        lambda: Fault.fail(job(), probability=0.5),
        lambda: crash(job(), luck.choice(POINTS), times(), luck.choice((None, 1, 2))),
        lambda: Fault.slow(job(), luck.choice(LENGTHS), at=luck.choice(("before_start", "after_effect"))),
        lambda: Fault.slow(job(), luck.choice(LENGTHS), renewed=True),
        lambda: Fault.duplicate(job()),
        lambda: Fault.lost_call(luck.choice(VERBS), nth=luck.randint(1, 5), times=luck.randint(1, 3)),
        lambda: Fault.lost_reply(luck.choice(VERBS), nth=luck.randint(1, 5), times=luck.randint(1, 3)),
        lambda: Fault.doubled_call(luck.choice(VERBS), nth=luck.randint(1, 5), times=luck.randint(1, 3)),
        lambda: Fault.late_call(luck.choice(VERBS), luck.choice(LENGTHS), nth=luck.randint(1, 5)),
        lambda: Fault.clock_step(luck.choice(STEPS), at=luck.choice(INSTANTS)),
        lambda: Fault.store_restart(at=luck.choice(INSTANTS), down=luck.choice(LENGTHS)),
        lambda: Fault.worker_leaves(at=luck.choice(INSTANTS), drain=luck.random() < 0.5),
        lambda: Fault.worker_joins(at=luck.choice(INSTANTS)),
        lambda: Fault.cancel(at=luck.choice(INSTANTS)),
    ]
    return [luck.choice(makers)() for _ in range(luck.randint(0, 4))]


def play(seed: int) -> tuple[DrawnFlow, list[Fault], Trace[Any]]:
    """The simulation of that number; every effect of it is checked as well.

    Raises:
        AssertionError: A promise was broken.
    """
    luck = random.Random(seed)
    flow = flow_of(luck)
    faults = faults_of(luck, flow)
    ledger = EffectLedger(idempotent=True)

    def noted(number: int, inputs: list[Any]) -> int:
        ledger.record("step", key=flows.current().idempotency_key)
        return number

    options: dict[str, Any] = {
        "workers": luck.randint(1, 3),
        "slots": luck.randint(1, 4),
        "fail_fast": luck.random() < 0.1,
    }
    if luck.random() < 0.15:
        options["timeout"] = luck.choice((3.0, 35.0, 300.0))
    if luck.random() < 0.5 and not all(row.is_async for row in flow.rows):
        options["handlers"] = {"step": noted}
    trace = simulate(flow, faults=faults, seed=seed, **options)
    if "handlers" in options:
        check_all(trace, ledger)
    else:
        check_all(trace)
    return flow, faults, trace


def main() -> int:
    """Play many, with a line now and then; the first that breaks a promise ends it with the command that repeats it."""
    parser = argparse.ArgumentParser(prog="python -m tests.testing.seeded")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=100_000)
    asked = parser.parse_args()
    begun, attempts = time.monotonic(), 0
    for number in range(asked.seeds):
        seed = asked.first + number
        try:
            _, _, trace = play(seed)
        except Exception as error:
            print(f"{error}\n\nseed {seed}; again: python -m tests.testing.seeded --first {seed} --seeds 1")
            return 1
        attempts += len(trace.attempts)
        if (number + 1) % 1_000 == 0 or number + 1 == asked.seeds:
            rate = (number + 1) / (time.monotonic() - begun)
            print(f"{number + 1} of {asked.seeds} seeds, {attempts} attempts, {rate:.0f} seeds/s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
