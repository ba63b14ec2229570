"""Writing a flow down: each job once, as plain data from which `parse` makes an equal flow."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter
from typing import TYPE_CHECKING, Any, Final

from flows import _registry
from flows._backoff import Backoff
from flows._binding import is_reference
from flows._codec import jsonable
from flows._job import Job
from flows._names import shown
from flows._opts import Opts, Queue
from flows._planner import plan
from flows._reference import OptionalReference, Path
from flows._task import call_arguments
from flows.errors import DefinitionError

if TYPE_CHECKING:
    from flows._flow import Flow
    from flows._task import Task

_NESTED: Final = 32
"""How deep children are written inside their parents. JSON writers and readers recurse, so that deeper ones stand
flat under ``jobs``, joined by ``depends_on``: a chain of any length can be written as text."""

_CODE: Final = ("retry_on", "give_up_on", "retry")
_NO_KEYWORD: Final = (Parameter.POSITIONAL_ONLY, Parameter.VAR_POSITIONAL)

Node = dict[str, Any]


def to_dict(flow: Flow[Any]) -> dict[str, Any]:
    """The flow as JSON-ready data, in the form that `flows._literal` describes.

    Written are a job's queue, by its name, and the options given to the job or to the `flows.Queue` it was
    put on. Those of a task stay with the task, and a queue that a literal left out stays out. Jobs that
    others refer to get the ids that the plan gives them.

    Raises:
        DefinitionError: The flow cannot be planned, or an option is code.
        DataError: Data that JSON has no form for.
    """
    return _Writer(flow).document()


class _Writer:
    """The state of one writing: where each job stands, and which have to be named."""

    def __init__(self, flow: Flow[Any]) -> None:
        planned = plan(flow)
        self.flow = flow
        # In the order of first visits, so that a parent comes before the children first met through it.
        self.jobs = planned._positions
        self.ids = planned.ids
        self.queues = planned.queues_of
        self.problems: list[DefinitionError] = []
        self.depth: dict[Job[Any], int] = {}
        self.inside: dict[Job[Any], int] = {}
        """How many of a job's children, from the first on, are written inside it."""
        self.loose: list[Job[Any]] = []
        self.named: set[Job[Any]] = set()
        self.data: dict[Job[Any], tuple[dict[str, Any], list[Node]]] = {}

    def document(self) -> dict[str, Any]:
        flow = self.flow
        roots = dict.fromkeys(flow.roots)
        for job in self.jobs:
            if job.spread is not None or job.conditions:
                self.problems.append(_unwritten(job))
            self._place(job, is_root=job in roots)
        if self.problems:
            raise DefinitionError.of(self.problems)
        if len(roots) < len(flow.roots):
            self.named.update(flow.roots)
        self.named.update(root for root in roots if self.depth[root])
        nodes: dict[Job[Any], Node] = {}
        for job in reversed(list(self.jobs)):  # a parent after the children inside it
            nodes[job] = self._node(job, nodes)
        if self.problems:
            raise DefinitionError.of(self.problems)
        jobs = {"jobs": [nodes[job] for job in self.loose]} if self.loose else {}
        if not flow.several and flow.name == flow.roots[0].name and not flow.retention:
            return nodes[flow.roots[0]] | jobs
        written: set[Job[Any]] = set()
        entries: list[Any] = []
        for root in flow.roots:
            inline = not self.depth[root] and root not in written
            entries.append(nodes[root] if inline else self._id(root))
            written.add(root)
        head = {"roots": entries} if flow.several else {"root": entries[0]}
        retention = {name: dict(keep) for name, keep in flow.retention.items()}
        return {"flow": flow.name} | head | jobs | ({"retention": retention} if retention else {})

    def _place(self, job: Job[Any], *, is_root: bool) -> None:
        """Say where *job* stands, unless a parent has, and which of its children stand inside it."""
        depth = self.depth.get(job)
        if depth is None:
            depth = self.depth[job] = 0
            if not is_root:
                self.loose.append(job)
        inside = 0
        for child in job.children:
            if depth == _NESTED or child in self.depth:
                break  # this one goes by its id, and so do those that follow: their order counts
            self.depth[child] = depth + 1
            inside += 1
        self.inside[job] = inside
        self.named.update(job.children[inside:])
        self.named.update(job.predecessors)
        self.data[job] = self._data(job)

    def _node(self, job: Job[Any], nodes: Mapping[Job[Any], Node]) -> Node:
        node: Node = {"name": job.name}
        if job.queue is not None or job.task is not None:
            node["queue"] = self.queues[self.jobs[job]]
        if job.id is not None or job in self.named:
            node["id"] = self._id(job)
        data, inputs = self.data[job]
        inside = self.inside[job]
        parts = {
            "data": data,
            "inputs": inputs,
            "opts": self._options(job),
            "children": [nodes[child] for child in job.children[:inside]],
            "depends_on": [self._id(child) for child in job.children[inside:]],
            "after": [self._id(before) for before in job.predecessors],
        }
        return node | {key: part for key, part in parts.items() if part}

    def _id(self, job: Job[Any]) -> str:
        return self.ids[self.jobs[job]]

    def _data(self, job: Job[Any]) -> tuple[dict[str, Any], list[Node]]:
        """The arguments by parameter name, with null in the places that results go to, and these places."""
        inputs: list[Node] = []
        data: dict[str, Any] = {}
        for name, value in self._arguments(job).items():
            plain = self._plain(value, (name,), inputs)
            try:
                data[name] = jsonable(plain, f"job {self._id(job)!r}: data.{name}")
            except DefinitionError as error:
                self.problems.append(error)
        return data, inputs

    def _arguments(self, job: Job[Any]) -> Mapping[str, Any]:
        """In the order of the call, in which the planner meets the jobs referred to."""
        task = job.task
        if task is None:
            return job.kwargs
        parameters = task.signature.parameters
        for name in job.kwargs:
            if name in parameters and parameters[name].kind in _NO_KEYWORD:
                self.problems.append(
                    DefinitionError(
                        f"job {self._id(job)!r}: {name!r} names a positional parameter and a keyword argument as "
                        "well; a document has its arguments by name and cannot hold both"
                    )
                )
        named = call_arguments(task, job.args, job.kwargs)
        return {name: value for name, value in named.items() if name not in job.kwargs} | dict(job.kwargs)

    def _plain(self, value: Any, at: Path, inputs: list[Node]) -> Any:
        """*value* with its references taken out; the planner has seen to it that the recursion is bounded."""
        if is_reference(value):
            inputs.append(self._input(value, at))
            return None
        if isinstance(value, dict):
            return {key: self._plain(item, (*at, key), inputs) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._plain(item, (*at, place), inputs) for place, item in enumerate(value)]
        return value

    def _input(self, value: Any, at: Path) -> Node:
        reference: Any = value.reference if type(value) is OptionalReference else value
        job, path = (reference, ()) if isinstance(reference, Job) else (reference._job, reference._path)
        self.named.add(job)
        entry: Node = {"at": list(at), "from": self._id(job)}
        if path:
            entry["path"] = list(path)
        if reference is not value:
            entry["optional"] = True
        return entry

    def _options(self, job: Job[Any]) -> dict[str, Any]:
        given = _queue_options(job) | ({} if job.opts is None else job.opts.given)
        options: dict[str, Any] = {}
        for name, value in given.items():
            if isinstance(value, Backoff) and value.kind != "custom":
                options[name] = value.to_dict()
            elif name == "backoff" or name in _CODE:
                self.problems.append(
                    DefinitionError(
                        f"job {self._id(job)!r}: option {name}={shown(value)} is code and cannot be "
                        "written down; give it to the task"
                    )
                )
            else:
                options[name] = value
        return options


def _queue_options(job: Job[Any]) -> dict[str, object]:
    """What a job has from the `flows.Queue` it was put on, and would not have from its name."""
    queue = job.queue
    if not isinstance(queue, Queue) or not queue.opts.given:
        return {}
    task: Task[..., Any] | None = job.task or _registry.find(job.name, queue.name)
    if task is not None and task.home == queue:
        return {}  # the handler brings the queue along
    above = (Opts() if task is None else task.opts).updated(job.opts or Opts())
    left = queue.opts.updated(above).given
    return {name: value for name, value in left.items() if name not in above.given}


def _unwritten(job: Job[Any]) -> DefinitionError:
    what = "each()" if job.spread is not None else "when()"
    return DefinitionError(f"job {job.name!r} is made by {what}, which documents cannot hold")
