"""Workers to be killed: `python -m tests.executors.redis.killed URL LEDGER CONCURRENCY LEASE`.

Each effect is a line at the end of a file that all processes share: the job's idempotency key.
"""

import ctypes
import os
import sys
import threading
from pathlib import Path
from typing import Any

import flows
from executors.redis import RedisExecutor

QUEUE = "killed"
LEDGER = os.environ.get("KILLED_LEDGER", "")


def note(key: str) -> None:
    """One write to a file that is open for appending is whole, whatever becomes of the process afterwards."""
    file = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{key}\n".encode())
    os.close(file)


@flows.task(queue=QUEUE)
def effect(number: int, pause: float = 0.005) -> int:
    note(flows.current().idempotency_key)
    threading.Event().wait(pause)
    return number


@flows.task(queue=QUEUE, attempts=3)
def moody(number: int) -> int:
    note(flows.current().idempotency_key)
    if flows.current().attempt == 1:
        raise ValueError("not in the mood")
    return number


@flows.task(name="killed-numbers", queue=QUEUE)
def numbers(count: int) -> list[int]:
    note(flows.current().idempotency_key)
    return list(range(count))


@flows.task(name="killed-add", queue=QUEUE)
def add(many: list[int]) -> int:
    note(flows.current().idempotency_key)
    return sum(many)


@flows.task(name="killed-broken", queue=QUEUE)
def broken() -> None:
    note(flows.current().idempotency_key)
    raise ValueError("never")


@flows.task(queue=QUEUE)
def total(*numbers: int) -> int:
    note(flows.current().idempotency_key)
    return sum(numbers)


@flows.task(queue=QUEUE)
def deadly() -> None:
    ctypes.string_at(0)  # a signal to the process may strike when this has returned; this cannot return


@flows.flow
def shapes(width: int, name: str) -> Any:
    """A fan-in, a chain, retries, a list of small graphs, an open and a closed gate, a failure that is ignored, and two
    jobs that share a result under a key made of *name*."""
    wide = [effect(number).out for number in range(width)]
    chain = effect(0)
    for _ in range(6):
        chain = effect(chain.out)
    retried = moody(1)
    listed = flows.each(lambda number: effect(effect(number).out), numbers(width).out, limit=4)
    opened = flows.when(retried.out, effect(1))
    closed = flows.when(chain.out, effect.using(id="closed")(2))
    ignored = broken.using(id="broken", on_failure="ignore")()
    twins = [effect.using(idempotency_key=f"twin:{name}")(1).out for _ in range(2)]
    return total(*wide, chain.out, retried.out, add(listed.out).out, opened.out, *twins).after(closed, ignored)


def value_of(width: int) -> int:
    """What comes of `shapes`."""
    return 2 * sum(range(width)) + 4


@flows.flow
def healthy_and_one(width: int) -> Any:
    return total.using(id="sum")(*[effect(number, 0.0).out for number in range(width)]).after(
        deadly.using(id="deadly", on_failure="ignore")()
    )


@flows.flow
def slow(width: int) -> Any:
    return total(*[effect(number, 0.3).out for number in range(width)])


def main(url: str, ledger: str, concurrency: str, lease: str) -> None:
    global LEDGER
    LEDGER = str(Path(ledger))
    executor = RedisExecutor(url)
    executor.lease_seconds = float(lease)
    flows.Worker(executor, queues=[QUEUE], concurrency=int(concurrency), grace=20).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
