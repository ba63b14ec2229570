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


@flows.task(queue=QUEUE)
def total(*numbers: int) -> int:
    note(flows.current().idempotency_key)
    return sum(numbers)


@flows.task(queue=QUEUE)
def deadly() -> None:
    ctypes.string_at(0)  # a signal to the process may strike when this has returned; this cannot return


@flows.flow
def shapes(width: int) -> Any:
    """A fan-in, a chain, and retries."""
    chain = effect(0)
    for _ in range(6):
        chain = effect(chain.out)
    return total(*[effect(number).out for number in range(width)], chain.out, moody(1).out)


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
