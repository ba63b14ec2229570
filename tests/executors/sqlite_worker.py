"""A process to be killed: a worker of a file. Run as a script: ``sqlite_worker.py DATABASE LEDGER``."""

import os
import sys
import threading
from pathlib import Path

import flows


def note(line: str) -> None:
    ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(ledger, f"{line}\n".encode())
    os.close(ledger)


@flows.task(queue="attached")
def attached_step(value: int) -> int:
    context = flows.current()
    note(f"{context.idempotency_key} {context.attempt}")
    return value + 1


@flows.task(queue="attached")
def attached_sum(values: list[int]) -> int:
    return sum(values)


@flows.task(queue="attached")
def attached_stuck() -> str:
    note(f"stuck in {os.getpid()}")
    if "WORKER" in os.environ:
        threading.Event().wait(60)
    return "free"


@flows.flow
def attached_flow(width: int) -> flows.Job[int]:
    return attached_sum([attached_step(attached_step(number).out).out for number in range(width)])


if __name__ == "__main__":
    os.environ["LEDGER"] = str(Path(sys.argv[2]))
    flows.Worker(f"sqlite:///{sys.argv[1]}", ["attached"], concurrency=4).run()
