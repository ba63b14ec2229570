"""Computing in processes: run_in="process" uses all processors, and a handler that hangs or dies harms nobody else."""

import os

import flows
from flows import Failed, Job


class Odd(Exception): ...


@flows.task(run_in="process")
def primes(low: int, high: int) -> int:
    """How many primes there are in a range: nothing but computing, which threads would do one after the other."""
    flows.current().log(f"process {os.getpid()} counts from {low}")
    return sum(all(number % factor for factor in range(2, int(number**0.5) + 1)) for number in range(low, high))


@flows.task(run_in="process", timeout="200ms")
def endless() -> int:
    while True:  # a thread could only be left behind; a process is killed
        pass


@flows.task(run_in="process")
def deadly() -> int:
    os._exit(1)  # as a crash in a C extension would end it


@flows.task(run_in="process", attempts=2, retry_on=Odd)
def second_time_lucky() -> int:
    if flows.current().attempt == 1:
        raise Odd("not yet")  # exceptions come back as what they are, with the traceback of the process
    return flows.current().attempt


@flows.task
def total(counts: list[int]) -> int:
    return sum(counts)  # in a thread of this process


@flows.task
def gather(*values: int | Failed) -> tuple[int | Failed, ...]:
    return values


@flows.flow
def count() -> Job[tuple[int | Failed, ...]]:
    counts = total([primes(low, low + 5_000).out for low in range(2, 20_002, 5_000)])
    return gather(counts.out, second_time_lucky().out, flows.optional(endless().out), flows.optional(deadly().out))


# Each process imports this file to find its functions: without the guard, it would run the flow again.
if __name__ == "__main__":
    run = flows.execute(count)
    for job in run.jobs.values():
        print(f"{job.id}: {', '.join(str(attempt.outcome) for attempt in job.attempts)}")

    counted, lucky, hung, died = run.value
    assert (counted, lucky) == (2262, 2)
    assert isinstance(hung, Failed)
    assert isinstance(died, Failed)
    assert (hung.type, died.type) == ("JobTimeoutError", "LeaseLostError")
    assert len(run.jobs["deadly"].attempts) == 3  # each lost, none an attempt: it may not have been the job's fault
    assert str(os.getpid()) not in run.jobs["primes"].logs[0]
