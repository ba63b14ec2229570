"""A process to be killed: works a flow of lists, retries and a wide fan-in off, or a chain; writes effects in a ledger.

Run as a script: ``sqlite_killed.py DATABASE LEDGER KEY [COMMIT MICROSECONDS TRACE]``. Each line of the ledger is
written by one call and names the job's idempotency key, so that lines of a process that dies are whole or not there.

With a commit and microseconds the system kills the process so long after that commit has begun; whether it had ended by
then is told by the trace.
"""

import os
import signal
import sys
from typing import Any

import flows
from executors.sqlite import SqliteExecutor
from flows import Job

LEDGER = -1
WIDTH = 40
LINKS = 130


def effect() -> None:
    """Leave a line in the ledger."""
    os.write(LEDGER, f"{flows.current().idempotency_key}\n".encode())


@flows.task
def killed_source() -> list[int]:
    effect()
    return list(range(8))


@flows.task
def killed_step(value: int) -> int:
    effect()
    return value + 1


@flows.task(attempts=3)
def killed_flaky(value: int) -> int:
    if flows.current().attempt == 1:
        raise ValueError("not at first")
    effect()
    return value


@flows.task
async def killed_async(value: int) -> int:
    effect()
    return value


@flows.task
def killed_sum(values: list[int], items: list[int], other: int) -> int:
    effect()
    return sum(values) + sum(items) + other


@flows.flow
def killed_flow() -> Job[int]:
    source = killed_source()
    items = flows.each(killed_step, source.out, limit=3)
    wide = [killed_step(killed_step(number).out) for number in range(WIDTH)]
    other = killed_flaky(killed_async(5).out)
    return killed_sum([job.out for job in wide], items.out, other.out)


@flows.flow
def killed_chain() -> Job[int]:
    link = killed_step(0)
    for _ in range(LINKS - 1):
        link = killed_step(link.out)
    return link


TOTAL = sum(number + 2 for number in range(WIDTH)) + sum(range(1, 9)) + 5
EFFECTS = 2 * WIDTH + 1 + 8 + 3
FLOWS: dict[str, tuple[Any, int, int]] = {"order": (killed_flow, TOTAL, EFFECTS), "chain": (killed_chain, LINKS, LINKS)}
"""What a key begins with -> the flow, its value, and how many effects it has."""


class Struck:
    """A connection, whose process dies at a commit."""

    def __init__(self, connection: Any, commit: int, micros: int, trace: str) -> None:
        self._connection = connection
        self._left = commit
        self._seconds = micros / 1e6
        self._trace = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def execute(self, statement: str, values: Any = ()) -> Any:
        if statement != "COMMIT":
            return self._connection.execute(statement, values)
        os.write(self._trace, b"(")
        self._left -= 1
        if not self._left:
            # At which the system ends the process, whatever it is doing: nobody has set a handler.
            signal.setitimer(signal.ITIMER_REAL, self._seconds)
        self._connection.execute(statement)
        os.write(self._trace, b")")
        return None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def main(database: str, ledger: str, key: str, commit: str = "", micros: str = "", trace: str = "") -> Any:
    global LEDGER
    LEDGER = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    level = "full" if commit else "normal"
    executor = SqliteExecutor(f"sqlite:///{database}?synchronous={level}&concurrency=4")
    if commit:
        steps: Any = Struck(executor.store.database._steps, int(commit), int(micros), trace)
        executor.store.database._steps = steps
    return flows.execute(FLOWS[key.partition(":")[0]][0], executor=executor, key=key)


if __name__ == "__main__":
    main(*sys.argv[1:])
