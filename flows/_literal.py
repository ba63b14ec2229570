"""Flows as documents: `parse` reads our own JSON form or a BullMQ FlowJob as it is, `to_dict` writes ours.

A document is a *job node*, the flow's root, or a *flow node* around it.

Job node: ``name``, ``queue``, ``id``, ``data``, ``opts`` (the fields of `flows.Opts`; a backoff as
`Backoff.to_dict` writes it), and its edges:

- ``children``: job nodes whose results the job takes. ``depends_on``: ids of further such jobs, which come
  after the children in order. ``after``: ids of jobs that only have to run first.
- ``inputs``: the places in the data that results go to, ``{"at": ["order"], "from": "load", "path": ["items",
  0], "optional": true}``. The data has null there, so that nothing in data is ever read as a reference.
- ``jobs``: job nodes that belong to the flow through ids alone; standing here makes no edge.

Ids may refer forward. A job without an id goes by its name if no other job without an id has it.

Flow node: ``flow`` (its name; without it, the first root's), ``root`` (a job node or an id) or ``roots`` (a
list of these; the flow's value is then a tuple), ``jobs`` as above, and ``retention``: ``{"keep_completed":
{"age": "7d", "count": 1000}, "keep_failed": {}}``, in which ``{}`` keeps all.

Whose a job node is, and so the unit of its times: with ``queueName`` or ``prefix`` it is BullMQ's
(milliseconds), with ``queue`` ours (seconds). With neither its options decide, if they have names that only
one of the two knows; else it is what the node around it is, and the outermost is ours. A ``prefix`` names
keys in a BullMQ store: it may be any text and has no effect. `flows._bullmq` lists what becomes of BullMQ's
options.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, cast

from flows._binding import scan
from flows._bullmq import Keep, read_options
from flows._codec import jsonable
from flows._document import EnoughProblems, Problems
from flows._flow import Flow
from flows._job import Job
from flows._json_text import Trail, read_json, spot_of
from flows._literal_options import is_bullmq, opts_of, read_own, read_retention
from flows._literal_out import to_dict
from flows._names import check_name, check_queue, nearest, shown
from flows._opts import Opts
from flows._reference import OptionalReference, Part, Reference
from flows.errors import DataError, DefinitionError, DuplicateJobError

__all__ = ["parse", "to_dict"]

_NODE_KEYS: Final = (
    "name", "queue", "queueName", "prefix", "id", "data", "inputs", "opts", "children", "depends_on", "after", "jobs",
)  # fmt: skip
_FLOW_KEYS: Final = ("flow", "root", "roots", "jobs", "retention")
_INPUT_KEYS: Final = ("at", "from", "path", "optional")

NODES: Final = 50_000
"""How many nodes are read before it is asked whether they are the same objects over and over."""

_NEAREST_AMONG: Final = 2_000
"""How many ids are compared with an unknown one: comparing is slow."""


def parse(source: str | bytes | Mapping[str, Any]) -> Flow[Any]:
    """The flow that a document declares; the module's docstring has the form.

    Args:
        source: JSON text, its UTF-8 bytes, or what a JSON reader made of it, of any depth. Copied, not kept.

    Raises:
        DataError: The text is no JSON that is read alike everywhere, or a job's data has no JSON form.
        DuplicateJobError: Two nodes have one id.
        DefinitionError: Anything else that is wrong, each problem with the path to its spot, 20 at most shown.
    """
    document: object = read_json(source) if isinstance(source, str | bytes | bytearray) else source
    if not isinstance(document, Mapping):
        remedy = "; several flows in one are {'roots': [...]}" if isinstance(document, list) else ""
        raise DefinitionError(
            f"a flow is declared by a JSON object such as {{'name': ...}}, not by {shown(document)}{remedy}"
        )
    return _Parser().flow(document)


class _Node:
    """A job of the document: what its edges are, and the job made of it (None where that failed)."""

    __slots__ = ("bullmq", "children", "is_root", "job", "source", "trail")

    def __init__(self, source: Mapping[str, Any], trail: Trail, *, is_root: bool) -> None:
        self.source = source
        self.trail = trail
        self.is_root = is_root
        self.bullmq = False
        self.job: Job[Any] | None = None
        self.children: list[_Node] = []


class _Parser:
    """The state of one reading: the nodes met, their names, and what is wrong."""

    def __init__(self) -> None:
        self.problems = Problems()
        self.nodes: list[_Node] = []
        self.by_id: dict[str, _Node] = {}
        self.by_name: dict[str, list[_Node]] = {}
        """Jobs without an id."""
        self.keep: dict[str, Keep] = {}

    def flow(self, document: Mapping[str, Any]) -> Flow[Any]:
        try:
            flow = self._flow(document)
        except EnoughProblems:
            flow = None
        if self.problems.found or flow is None:
            raise DefinitionError.of(self.problems.found)
        return flow

    def _flow(self, document: Mapping[str, Any]) -> Flow[Any] | None:
        if not any(key in document for key in ("flow", "root", "roots")):
            roots: list[_Node | None] = [self._tree(document, None, is_root=True)]
            return self._made(None, roots, several=False)
        self.problems.check_keys(document, _FLOW_KEYS, None)
        name = document.get("flow")
        if name is not None:
            name = self.problems.checked(check_name, name, "flow", None)
        if ("root" in document) == ("roots" in document):
            self.problems.refuse((None, "root"), "a flow node has either a root or roots")
            return None
        retention = self.problems.mapping(document, "retention", None, "limits")
        self.keep = read_retention(retention, (None, "retention"), self.problems)
        several = "roots" in document
        entries = self.problems.listed(document, "roots", None) if several else [((None, "root"), document["root"])]
        if not entries:
            self.problems.refuse((None, "roots"), "is empty; list the jobs that the flow is about")
        inline = [
            None if isinstance(entry, str) else self._tree(entry, trail, is_root=True) for trail, entry in entries
        ]
        for trail, entry in self.problems.listed(document, "jobs", None):
            self._tree(entry, trail, is_root=False)
        roots = [
            self._named(entry, trail) if isinstance(entry, str) else node
            for (trail, entry), node in zip(entries, inline, strict=True)
        ]
        return self._made(name, roots, several=several)

    def _made(self, name: str | None, roots: list[_Node | None], *, several: bool) -> Flow[Any] | None:
        for node in self.nodes:
            self._link(node)
        jobs = tuple(node.job for node in roots if node is not None and node.job is not None)
        if self.problems.found or not jobs:
            return None
        made = tuple(node.job for node in self.nodes if node.job is not None)
        return Flow(name or jobs[0].name, jobs, several=several, made=made, retention=self.keep)

    def _tree(self, source: object, trail: Trail, *, is_root: bool) -> _Node | None:
        """Read a job node and all below it, in the order of the document."""
        top: _Node | None = None
        inside, met = set[int](), set[int]()
        stack: list[tuple[object, Trail, _Node | None, bool]] = [(source, trail, None, False)]
        while stack:
            source, trail, around, is_child = stack.pop()
            if type(source) is int and trail is None:  # the mark put below: all inside that mapping has been read
                inside.discard(source)
                continue
            if not isinstance(source, Mapping):
                self.problems.refuse(trail, f"{shown(source)} is no job; a job is an object such as {{'name': ...}}")
                continue
            if id(source) in inside:
                self.problems.refuse(
                    trail, "this object holds itself; a job that several need is named by id, in depends_on"
                )
                continue
            if len(self.nodes) > NODES:
                met.add(id(source))
                if len(self.nodes) > NODES + 100 * len(met):
                    fault = f"the same few objects are read over and over, {len(self.nodes):,} times"
                    raise DefinitionError(f"{fault}; a job that several need is named by id, in depends_on")
            node = self._read(source, trail, around, is_root=is_root and around is None)
            if around is None:
                top = node
            elif is_child:
                around.children.append(node)
            below = [(entry, spot, node, True) for spot, entry in self.problems.listed(source, "children", trail)]
            below += [(entry, spot, node, False) for spot, entry in self.problems.listed(source, "jobs", trail)]
            if below:
                inside.add(id(source))
                stack.append((id(source), None, None, False))
                stack.extend(reversed(below))
        return top

    def _read(self, source: Mapping[str, Any], trail: Trail, around: _Node | None, *, is_root: bool) -> _Node:
        """Make the job of one node, without its edges."""
        node = _Node(source, trail, is_root=is_root)
        self.nodes.append(node)
        before = len(self.problems.found)
        self.problems.check_keys(source, _NODE_KEYS, trail)
        options = self.problems.mapping(source, "opts", trail, "options")
        node.bullmq = is_bullmq(source, options, trail, self.problems, around=around is not None and around.bullmq)
        name = self.problems.checked(check_name, source.get("name"), "name", trail)
        key = "queueName" if node.bullmq else "queue"
        queue = source.get(key)
        if queue is not None:
            queue = self.problems.checked(check_queue, queue, key, trail)
        data = self._data(source, trail)
        job_id = source.get("id")
        if node.bullmq:
            opts, job_id = self._bullmq(node, options, data)
        else:
            opts = read_own(options, trail, self.problems)
        if job_id is not None:
            job_id = self._id(job_id, name, trail)
        if len(self.problems.found) == before and name is not None:
            node.job = Job(name, queue=queue, data=data, opts=opts)
            node.job.id = job_id
        self._register(node, name, job_id)
        return node

    def _register(self, node: _Node, name: str | None, job_id: str | None) -> None:
        if job_id is None:
            if name is not None:
                self.by_name.setdefault(name, []).append(node)
            return
        former = self.by_id.setdefault(job_id, node)
        if former is not node:
            self.problems.add(
                DuplicateJobError(
                    f"{spot_of((node.trail, 'id'))}: the id {job_id!r} is that of "
                    f"{spot_of(former.trail) or 'the root'} already; ids are unique in a flow: name the job there "
                    "in depends_on or after, or give another id",
                    job=job_id,
                )
            )

    def _id(self, given: object, name: str | None, trail: Trail) -> str | None:
        if (
            isinstance(given, str)
            and name is not None
            and given.startswith(f"{name}#")
            and given[len(name) + 1 :].isdecimal()
            and len(given) < len(name) + 16
        ):
            return given  # numbered by the planner: may be longer than ids that people give
        return self.problems.checked(check_name, given, "id", trail)

    def _data(self, source: Mapping[str, Any], trail: Trail) -> dict[str, Any]:
        data = source.get("data")
        if data is None:
            return {}
        if not isinstance(data, Mapping):
            self.problems.refuse(
                (trail, "data"),
                f"{shown(data)} is no mapping of the handler's keyword arguments; give it a name in one",
            )
            return {}
        try:
            for value in data.values():
                scan(value, lambda _: None, "data")  # refuses what would not end
            return cast("dict[str, Any]", jsonable(dict(data), "data", depth=-1))  # values count, as in a call
        except DataError as error:
            self.problems.below(trail, str(error), DataError)
            return {}

    def _bullmq(self, node: _Node, options: Mapping[str, Any], data: Mapping[str, Any]) -> tuple[Opts | None, object]:
        """The options of a node of BullMQ's, and its id."""
        trail: Trail = (node.trail, "opts")
        read = read_options(options, lambda name, message: self.problems.refuse((trail, name), str(message)))
        if node.is_root and read.keep:
            if self.keep and self.keep != read.keep:
                fault = "removeOnComplete and removeOnFail of a root are the run's, and others were given already"
                self.problems.refuse(trail, fault)
            self.keep = read.keep
        if read.size_limit is not None:
            size = len(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode())
            if size > read.size_limit:
                fault = f"has {size} bytes as JSON, and opts.sizeLimit is {read.size_limit}"
                self.problems.refuse((node.trail, "data"), fault, DataError)
        job_id = node.source.get("id")
        if read.job_id is not None and job_id is not None:
            self.problems.refuse((trail, "jobId"), "stands beside id, which is the same; leave out one of them")
        return opts_of(read.given, node.trail, self.problems), job_id if read.job_id is None else read.job_id

    def _link(self, node: _Node) -> None:
        """Give the job of *node* its edges."""
        job = node.job
        children = [child.job for child in node.children if child.job is not None]
        children += self._jobs(node, "depends_on")
        before = self._jobs(node, "after")
        if job is not None:
            job.children, job.predecessors = tuple(children), tuple(before)
            job.odd = True
        for trail, entry in self.problems.listed(node.source, "inputs", node.trail):
            self._input(job, entry, trail)

    def _jobs(self, node: _Node, key: str) -> list[Job[Any]]:
        named = [self._named(entry, trail) for trail, entry in self.problems.listed(node.source, key, node.trail)]
        return [other.job for other in named if other is not None and other.job is not None]

    def _named(self, job_id: object, trail: Trail) -> _Node | None:
        """The node of that id, else the only node of that name without an id."""
        if isinstance(job_id, str):
            node = self.by_id.get(job_id)
            if node is not None:
                return node
            same = self.by_name.get(job_id, ())
            if len(same) == 1:
                return same[0]
            if same:
                self.problems.refuse(
                    trail,
                    f"{len(same)} jobs without an id are named {shown(job_id)}; give the one that is meant an id",
                )
                return None
            known = [*self.by_id, *self.by_name][:_NEAREST_AMONG]
            near = nearest(job_id, known, 3)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are {_some(known)}"
            self.problems.refuse(trail, f"no job of this document has the id {shown(job_id)}; {hint}")
        else:
            self.problems.refuse(trail, f"{shown(job_id)} is no id; name a job by its id, as text")
        return None

    def _input(self, job: Job[Any] | None, entry: object, trail: Trail) -> None:
        if not isinstance(entry, Mapping):
            self.problems.refuse(trail, f"{shown(entry)} is no input; give {{'at': ['order'], 'from': 'load'}}")
            return
        self.problems.check_keys(entry, _INPUT_KEYS, trail)
        at, path = entry.get("at"), entry.get("path", [])
        optional = entry.get("optional", False)
        if not (_is_path(at) and at):
            self.problems.refuse(
                (trail, "at"),
                f"{shown(at)} is no path into the data; give a list such as ['order', 'items', 0]",
            )
        elif not _is_path(path):
            self.problems.refuse(
                (trail, "path"), f"{shown(path)} is no path into a result; give a list such as ['items', 0]"
            )
        elif not isinstance(optional, bool):
            self.problems.refuse((trail, "optional"), f"{shown(optional)} is neither true nor false")
        else:
            node = self._named(entry.get("from"), (trail, "from"))
            if job is not None and node is not None and node.job is not None:
                reference = Part(node.job, tuple(path)) if path else Reference(node.job)
                place = cast("list[Any]", at)
                if not _put(job.kwargs, place, OptionalReference(reference) if optional else reference):
                    self.problems.refuse(
                        (trail, "at"),
                        f"{shown(at)} leads to no null in the data; put one where the result goes",
                    )


def _is_path(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(step, str) or type(step) is int for step in value)


def _put(data: Any, path: list[Any], reference: object) -> bool:
    """Put *reference* in the place of the null that *path* leads to; False if it leads to none."""
    *way, last = path
    for step in way:
        if not _has(data, step):
            return False
        data = data[step]
    if not _has(data, last) or data[last] is not None:
        return False
    data[last] = reference
    return True


def _has(data: object, step: object) -> bool:
    if isinstance(data, dict):
        return step in data
    return isinstance(data, list) and type(step) is int and 0 <= step < len(data)


def _some(names: list[str]) -> str:
    listed = ", ".join(repr(name) for name in names[:5])
    return f"{listed} and more" if len(names) > 5 else listed or "none"
