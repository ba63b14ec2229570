"""Replay a recorded scientific workflow; give an instance in WfFormat 1.5 (https://wfcommons.org) as argument.

Each task becomes a job that sleeps its recorded runtime times a scale. What one task leaves in files for another is an
order-only edge. Tasks of one kind share a queue. Prints how near the makespan comes to the critical path.
"""

import argparse
import asyncio
import json
import re
from pathlib import Path
from typing import Any

import flows
from flows import Job

SMALL = Path(__file__).with_name("wfcommons_small.json")


@flows.task
async def replay(seconds: float) -> None:
    await asyncio.sleep(seconds)


def job_id(task: dict[str, Any], number: int) -> str:
    """The task's own id if it may name a job, else what is left of it, and a number that tells it from others."""
    text: str = task["id"]
    fits = text.isascii() and text.isprintable() and 1 <= len(text) <= 128
    return text if fits else f"{re.sub(r'[^ -~]', '-', text)[:100]}~{number}"


def queue_of(task: dict[str, Any]) -> str:
    """The kind of task: its name without a running number, its end if that is too long for a queue."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", re.sub(r"_(ID)?\d+$", "", task["name"]))[-64:] or "unnamed"


@flows.flow
def recorded(tasks: list[dict[str, Any]], runtimes: dict[str, float], scale: float) -> tuple[Job[None], ...]:
    jobs: dict[str, Job[None]] = {}
    for number, task in enumerate(tasks):
        step = replay.using(id=job_id(task, number), queue=queue_of(task))
        jobs[task["id"]] = step(runtimes.get(task["id"], 0.0) * scale)
    for task in tasks:
        jobs[task["id"]].after(*(jobs[parent] for parent in task["parents"]))
        for child in task["children"]:
            jobs[child].after(jobs[task["id"]])
    return tuple(jobs[task["id"]] for task in tasks if not task["children"])


options = argparse.ArgumentParser(description=__doc__)
options.add_argument("instance", type=Path, nargs="?", default=SMALL)
options.add_argument("--scale", type=float, help="default: such that the critical path takes a second")
options.add_argument("--workers", type=int, default=1000, help="how many jobs may run at once")
given = options.parse_args()

workflow = json.loads(given.instance.read_text("utf-8"))["workflow"]
tasks = workflow["specification"]["tasks"]
runtimes = {task["id"]: float(task["runtimeInSeconds"]) for task in workflow["execution"]["tasks"]}
durations = {job_id(task, number): runtimes.get(task["id"], 0.0) for number, task in enumerate(tasks)}
path = flows.plan(recorded(tasks, runtimes, 1.0)).critical_path(durations)
critical = sum(durations[job] for job in path)
scale = given.scale or 1.0 / (critical or 1.0)

plan = flows.plan(recorded(tasks, runtimes, scale))
run = flows.execute(plan, executor=f"memory://?concurrency={given.workers}")
spans = {job.id: (job.attempts[0].start, job.attempts[0].end or job.attempts[0].start) for job in run.jobs.values()}
makespan = max(end for _, end in spans.values()) - min(start for start, _ in spans.values())
replayed = makespan.total_seconds() / scale

edges = plan.graph.number_of_edges()
print(f"{given.instance.name}: {len(plan)} jobs, {edges} edges, {len(plan.levels)} levels, {len(plan.queues)} queues")
print(f"work           {sum(durations.values()):9.1f} s recorded, widest level {max(map(len, plan.levels))} jobs")
print(f"critical path  {critical:9.1f} s over {len(path)} jobs, {path[0]} ... {path[-1]}")
print(f"makespan       {replayed:9.1f} s, {replayed / critical:.3f} times the critical path, at scale {scale:.2g}")

assert all(job.state == "completed" for job in run.jobs.values())
assert all(spans[child][1] <= spans[parent][0] for child, parent in plan.graph.edges)
assert makespan.total_seconds() >= 0.99 * critical * scale
