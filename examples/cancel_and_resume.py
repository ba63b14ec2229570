"""Cancel a run that is under way, see what became of it, and take it up again where it stopped."""

import threading

import flows

begun = threading.Event()
done: list[str] = []
slow = True


@flows.task
def fetch(name: str) -> str:
    done.append(f"fetch {name}")
    return name.upper()


@flows.task
def crunch(text: str) -> int:
    """A long loop in a thread: nothing can stop it from outside, so it asks."""
    begun.set()
    context = flows.current()
    while slow:
        context.check()  # raises when the run was cancelled
        begun.wait(0.001)
    done.append("crunch")
    return len(text)


@flows.task
def report(length: int, name: str) -> str:
    done.append("report")
    return f"{name}: {length}"


@flows.flow
def nightly() -> flows.Job[str]:
    name = fetch("ledger")
    return report(crunch(name.out).out, name.out)


run = flows.submit(nightly, key="nightly:2026-11-22")  # returns at once: background threads work
begun.wait()
flows.get(key="nightly:2026-11-22").cancel("the ledger is not closed yet")  # from anywhere that knows the key
run.wait()
print(run.state, {job_id: job.state for job_id, job in run.jobs.items()})
print(run.jobs["report"].error)

assert run.state == "cancelled"
assert run.jobs["fetch"].state == "completed"
assert run.jobs["report"].state == "cancelled"
assert done == ["fetch ledger"]

slow = False
run.retry().wait()  # what was cancelled, not what had completed: the same run, the same idempotency keys
print(run.state, run.value)

assert run.value == "LEDGER: 6"
assert done == ["fetch ledger", "crunch", "report"]

# A deadline cancels by itself; `fail_fast` gives up as soon as the flow is certain to fail.
slow = True
late = flows.execute(nightly, timeout="50ms", check=False)
print(late.state, late.jobs["crunch"].error)
assert late.state == "cancelled"
