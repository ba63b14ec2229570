"""What the failure of a job does to those that depend on it: five policies, and `optional` for a single edge."""

from typing import Literal

import flows
from flows import Children, Failed, Job, Opts

Policy = Literal["fail", "ignore", "continue", "remove", "skip"]


@flows.task
def works() -> str:
    return "fine"


@flows.task
def breaks() -> str:
    raise ValueError("out of order")


@flows.task
def parent(children: Children) -> str:
    return f"got {list(children.values)}, knows that {list(children.failures)} failed"


def outcome(policy: Policy) -> str:
    """What becomes of a parent whose one child fails at once, while the other has yet to start."""
    children = [Job("breaks", opts=Opts(on_failure=policy)), Job("works", opts=Opts(delay="50ms"))]
    run = flows.execute(Job("parent", children=children), check=False)
    job = run.jobs["parent"]
    return f"{job.state}: {job.value if job.state == 'completed' else job.error}"


fail = outcome("fail")  # the default: the parent fails without ever starting
ignore = outcome("ignore")  # waits for the rest, then runs, and can look at the failure
at_once = outcome("continue")  # runs at once: the other child is still pending, and counts as neither
remove = outcome("remove")  # waits for the rest, then runs as if the failed child had never been there
skip = outcome("skip")  # waits for the rest, then is skipped, and so on upwards
for name, text in {"fail": fail, "ignore": ignore, "continue": at_once, "remove": remove, "skip": skip}.items():
    print(f"{name:9} parent {text}")


@flows.task
def tolerant(result: str | Failed) -> str:
    return f"does without: {result}" if isinstance(result, Failed) else result


@flows.task
def strict(result: str) -> str:
    return result


@flows.flow
def one_edge() -> tuple[Job[str], Job[str]]:
    broken = breaks()
    return tolerant(flows.optional(broken.out)), strict(broken.out)


run = flows.execute(one_edge, check=False)
print(f"optional  tolerant {run.jobs['tolerant'].value}\n          strict {run.jobs['strict'].error}")

assert fail.startswith("failed: DependencyFailedError")
assert ignore == "completed: got ['works'], knows that ['breaks'] failed"
assert at_once == "completed: got [], knows that ['breaks'] failed"
assert remove == "completed: got ['works'], knows that [] failed"
assert skip.startswith("skipped")
assert run.jobs["tolerant"].value == "does without: ValueError: breaks: out of order"
assert run.jobs["strict"].state == "failed"
