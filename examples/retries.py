"""Retries: how often, how long between, which errors are worth it; and a handler that knows better."""

import flows
from flows import Backoff, Job, JobView


class Flaky(Exception): ...


class Refused(Exception): ...


@flows.task(attempts=4, backoff=Backoff.exponential("20ms", cap="1s", jitter=0.5))
def third_time_lucky() -> str:
    if flows.current().attempt < 3:
        raise Flaky("not yet")
    return "done"


@flows.task(attempts=5, backoff=Backoff.fixed("20ms"), retry_on=Flaky, give_up_on=Refused)
def refused() -> None:
    raise Refused("the card is stolen")  # another attempt cannot help: not in retry_on, and in give_up_on


@flows.task(attempts=5)
def out_of_stock() -> None:
    raise flows.GiveUp("no longer made")  # the handler decides: no more attempts


@flows.task(attempts=3, backoff=Backoff.fixed("1h"))
def rate_limited() -> str:
    if flows.current().attempt == 1:
        raise flows.RetryAfter("30ms")  # the server said when: this once, in place of the backoff
    return "let in"


@flows.task(attempts=2, timeout="30ms")
async def sluggish() -> str:
    import asyncio

    if flows.current().attempt == 1:
        await asyncio.sleep(60)  # the attempt is cancelled when its timeout passes, and counts
    return "quick enough"


@flows.flow
def retries() -> tuple[Job[str], Job[None], Job[None], Job[str], Job[str]]:
    return third_time_lucky(), refused(), out_of_stock(), rate_limited(), sluggish()


def show(job: JobView) -> None:
    print(f"{job.id}: {job.state} after {len(job.attempts)} attempts")
    for attempt in job.attempts:
        print(f"  {attempt.number}  {attempt.start:%S.%f}  {attempt.error or 'completed'}")


run = flows.execute(retries, check=False)  # without it, the failures would be raised
for job in run.jobs.values():
    show(job)

tries = {job.id: (job.state, len(job.attempts)) for job in run.jobs.values()}
assert tries["third_time_lucky"] == ("completed", 3)
assert tries["refused"] == ("failed", 1)
assert tries["out_of_stock"] == ("failed", 1)
assert tries["rate_limited"] == ("completed", 2)
assert tries["sluggish"] == ("completed", 2)
