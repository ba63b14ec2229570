"""Who takes part: where each is found, what it needs, how it is set up, and what it cannot express.

Only the standard library is imported: every contender's own process reads this, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Where = Literal["process", "file", "cluster", "redis"]
PLACES: dict[Where, str] = {
    "process": "in one process",
    "file": "durable, in a file",
    "cluster": "on a compute cluster",
    "redis": "a client and a worker over Redis",
}


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to run the workloads.

    Attributes:
        where: Where its flows are kept; only those of one place are compared.
        module: What its processes import; it has a `peer` and, over Redis, a function `work(url)`. For Node, a script.
        packages: Of its environment; none means that of the benchmarks.
        settings: How it is set up and what is timed, for the page.
        cannot: Shapes that it has no words for, with the reason.
        at_most: Jobs that it is given in a run of the short set at most, as more would take minutes.
        flows_at_most: The same for flows, of which many are run.
        library: Whether it is one; what one would write by hand is shown, too, but is not the best peer.
        environment: Where it shares that of another contender, the name of that one.
        passes: Whether jobs receive the results of those that they depend on; where not, values are not checked.
    """

    name: str
    where: Where
    module: str
    peer: str
    settings: str
    packages: tuple[str, ...] = ()
    cannot: Mapping[str, str] = field(default_factory=dict)
    at_most: int = 100_000
    flows_at_most: int = 10_000
    passes: bool = True
    environment: str = ""
    library: bool = True

    @property
    def ours(self) -> bool:
        """Whether it is this library."""
        return self.name.startswith("flows")


_TREE = "a job has one parent only: a graph in which three take the result of one is no tree"
_CHORDS = "groups and chains only: a job of a graph cannot wait for three chosen ones"
_BY_HAND = "no dependencies: the client would have to be a scheduler of graphs"
_STATIC = "all jobs are named when the flow is submitted: none are added by a job"

_PARSER = "hiredis==3.5.0"
"""The parser that redis-py takes where it finds it: everyone who speaks by redis-py has it, as we have."""

_OURS = (
    Contender(
        "flows",
        "process",
        "benchmarks.peers.flows_",
        "ExecuteFlow",
        "`flows.execute(flow)` on `memory://?concurrency=50`; declared beforehand; planning, run and value are timed",
    ),
    Contender(
        "flows-sqlite",
        "file",
        "benchmarks.peers.flows_",
        "InFile",
        "`flows.execute(flow)` on `sqlite:///…?synchronous=full`: survives a loss of power",
    ),
    Contender(
        "flows-dask",
        "cluster",
        "benchmarks.peers.flows_dask_",
        "OnCluster",
        "`flows.execute(flow, executor=client)`, on the cluster that distributed has here; values are brought home",
        at_most=2_000,
        flows_at_most=100,
    ),
    Contender(
        "flows-redis",
        "redis",
        "benchmarks.peers.flows_",
        "OverRedis",
        "`flows.submit`, many flows by `flows.asubmit`, and `run.wait()`; one worker process, 50 jobs at once, "
        "otherwise as by default",
    ),
)

_OVER_REDIS = (
    Contender(
        "bullmq-node",
        "redis",
        "bullmq.mjs",
        "",
        "`FlowProducer.add`, many by `addBulk`; one worker process, concurrency 50; roots are told by events",
        ("bullmq@6.7.0", "ioredis@5.11.1"),
        {"layers": _TREE},
    ),
    Contender(
        "bullmq-python",
        "redis",
        "benchmarks.peers.bullmq_",
        "Producer",
        "as bullmq-node, in Python; blocking connections wait up to 30 s (redis-py's own limit of 5 s breaks them)",
        ("bullmq==3.4.4", "redis==8.1.0", _PARSER),
        {"layers": _TREE},
        at_most=2_000,
    ),
    Contender(
        "celery",
        "redis",
        "benchmarks.peers.celery_",
        "Canvas",
        "`chord`, `chain`, for growth `self.replace(chord)`; prefork pool of 2 processes, otherwise as by default",
        ("celery[redis]==5.7.0", _PARSER),
        {"layers": _CHORDS},
        at_most=500,
    ),
    Contender(
        "rq",
        "redis",
        "benchmarks.peers.rq_",
        "Dependent",
        "`depends_on`; one SimpleWorker, which does not fork for each job (the default one does, and is far slower); "
        "a parent fetches its children's results itself",
        ("rq==3.0.0", _PARSER),
        {"growth": "a job that is queued cannot be given more dependencies"},
        at_most=500,
    ),
    Contender(
        "dramatiq",
        "redis",
        "benchmarks.peers.dramatiq_",
        "Composed",
        "`group` with a completion callback (a barrier), `pipeline`; one worker of 8 threads, the default",
        ("dramatiq[redis]==2.2.1", _PARSER),
        {"layers": _CHORDS, "growth": _STATIC},
        at_most=1_000,
        passes=False,
    ),
    Contender(
        "huey",
        "redis",
        "benchmarks.peers.huey_",
        "Chords",
        "`group().then()`, `.then()`; a consumer of 10 threads; results announced (`notify_result`), not polled for",
        ("huey==3.5.4", "redis==8.1.0", _PARSER),
        {"layers": _CHORDS, "growth": _STATIC},
        at_most=1_000,
    ),
    Contender(
        "saq",
        "redis",
        "benchmarks.peers.saq_",
        "ByHand",
        "no dependencies: the client waits for children with `queue.map`, then applies the parent, polling every "
        "10 ms; one worker, concurrency 50",
        ("saq[redis,hiredis]==0.26.4", "typing_extensions"),
        {"layers": _BY_HAND},
        at_most=1_000,
    ),
    Contender(
        "arq",
        "redis",
        "benchmarks.peers.arq_",
        "ByHand",
        "no dependencies: the client waits for children, then queues the parent; worker (50 jobs) and client poll "
        "every 10 ms (0.5 s by default)",
        ("arq==0.28.0",),
        {"layers": _BY_HAND},
        at_most=1_000,
    ),
    Contender(
        "streaq",
        "redis",
        "benchmarks.peers.streaq_",
        "Dependent",
        "`start(after=…)`, `then`; one worker, concurrency 50; `after` passes no results",
        ("streaq==7.2.0",),
        {"growth": _STATIC},
        at_most=1_000,
        passes=False,
    ),
    Contender(
        "taskiq",
        "redis",
        "benchmarks.peers.taskiq_",
        "Pipelines",
        "taskiq-pipelines: a list, `map`, then the parent; results in Redis, polled every 10 ms (0.5 s by default); "
        "one worker, 50 tasks at once",
        ("taskiq==0.13.0", "taskiq-redis==1.2.4", "taskiq-pipelines==0.1.4", _PARSER),
        {"layers": _CHORDS},
        at_most=1_000,
    ),
)

_IN_PROCESS = (
    Contender(
        "asyncio",
        "process",
        "benchmarks.peers.asyncio_",
        "AsyncioLoop",
        "no library: the loop that one would write, with graphlib and a Task for each job; no retries, no record",
        cannot={"growth": "the loop as it is written knows its graph beforehand"},
        library=False,
    ),
    Contender(
        "dask",
        "process",
        "benchmarks.peers.dask_",
        "DaskPrepared",
        "`dask.threaded.get` on a graph made beforehand, in the form that Dask's collections have; a thread a core",
        ("distributed==2026.8.0",),
        {"growth": "a graph is complete before it runs"},
        environment="distributed",
    ),
    Contender(
        "prefect",
        "process",
        "benchmarks.peers.prefect_",
        "Flows",
        "a `@flow` that submits a `@task` for each job, in threads; the ephemeral server that it starts itself",
        ("prefect==3.8.8", "fastapi==0.140.0"),
        at_most=100,
        flows_at_most=5,
    ),
    Contender(
        "hamilton",
        "process",
        "benchmarks.peers.hamilton_",
        "Drivers",
        "a function for each job, written beforehand; building the driver, which plans, and `execute`; one thread",
        ("apache-hamilton==1.90.0",),
    ),
    Contender(
        "pydantic-graph",
        "process",
        "benchmarks.peers.pydantic_graph_",
        "Built",
        "`graph.run`, built beforehand; map and join for children, steps in a row",
        ("pydantic-graph==2.68.0",),
        {"layers": "a join needs one fork that all its branches come from"},
    ),
)

_ON_A_CLUSTER = (
    Contender(
        "distributed",
        "cluster",
        "benchmarks.peers.distributed_",
        "Cluster",
        "`client.get` on a dict graph made beforehand, handed over whole; a `LocalCluster` as it comes: scheduler in "
        "the client's process, a worker process of one thread a core; for growth `worker_client` within a task",
        ("distributed==2026.8.0",),
        at_most=2_000,
        flows_at_most=100,
    ),
    Contender(
        "ray",
        "cluster",
        "benchmarks.peers.ray_",
        "Local",
        "`remote` for each job and `ray.get`; two worker processes on this machine, no dashboard",
        ("ray==2.60.0",),
        at_most=2_000,
        flows_at_most=100,
    ),
)

_IN_A_FILE = (
    Contender(
        "dbos",
        "file",
        "benchmarks.peers.dbos_",
        "Workflow",
        "a workflow with a durable step for each job, one after the other, on SQLite as it comes",
        ("dbos==3.4.0",),
        at_most=1_000,
    ),
)

CONTENDERS: dict[str, Contender] = {
    one.name: one for one in (*_OURS, *_IN_PROCESS, *_IN_A_FILE, *_ON_A_CLUSTER, *_OVER_REDIS)
}
