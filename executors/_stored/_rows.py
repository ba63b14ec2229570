"""Rows: what is stored of one job besides the numbers that a store works with.

``more`` of a row has, each only where it says something:

- ``c``: the children whose ends a grant brings along, where they are not just those of the binding;
- ``n``: how many of them are dependencies with a result; those after are there for a condition;
- ``o``: children at optional edges; ``r``: children with the policy ``remove``, which leave no failure;
- ``e``: all edges into the job as [child, code], where there is more to them than one plain edge from each child;
- ``p``: children of which a part is taken, as [child, kind]: what is there depends on what their task returns;
- ``w``: conditions; ``l``: the number of a list's body.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from json.encoder import encode_basestring as quote
from typing import Any, Final, NamedTuple, cast

from executors._stored._json import encode
from executors._stored._limits import Limits, sized
from executors._stored._shape import Outer
from executors._stored._values import LISTED, Escaping, TooLargeError, read, read_all, without_places
from flows import _registry
from flows._binding import Arguments, Binding, Pick, Picks
from flows._handlers import Handler, handler_of
from flows._plan import Plan
from flows.errors import DefinitionError

IDS: Final = "\x7f"
"""Stands between ids: no id has it, and JSON writes it as it is."""

_NOTHING: Final[Mapping[str, Any]] = {}
NO_KIND: Final = -1
NOBODY: Final[frozenset[int]] = frozenset()

_SURE: Final = frozenset((str, bool, int, type(None)))
"""Kinds of arguments that JSON keeps where they are short and ASCII: no integer is too large, nor text a half pair."""

_SHORT: Final = 20

KEPT_ROWS: Final = 256
KEPT_BYTES: Final = 2048
"""So many rows without data are kept as they were read, if they are no longer than that."""


class Space(NamedTuple):
    """What the bindings of a plan's jobs may refer to; a body's also to the item and to jobs around it.

    Attributes:
        names: The id at each place.
        policies: The failure policies.
        kinds: The numbers of the kinds; `NO_KIND` for an item.
    """

    names: Sequence[str]
    policies: Sequence[str]
    kinds: Sequence[int]


class RowWriter:
    """Writes the rows of a plan, or of a body's.

    Args:
        plan: Whose jobs they are.
        space: What their bindings may refer to.
        lists: Numbers of bodies by list.
        links: Edges into a body from around it.
        limits: How large data may be.

    Attributes:
        names, kinds: Of *space*.
        inputs: For each job the children whose ends a grant brings along.
        problems: What was wrong with data.
    """

    def __init__(
        self,
        plan: Plan[Any],
        space: Space,
        lists: Mapping[int, int],
        links: Sequence[Outer],
        limits: Limits,
    ) -> None:
        self.plan = plan
        self.names = space.names
        self.kinds = space.kinds
        self._lists = lists
        self._limit = limits.data
        self.inputs: list[tuple[int, ...]] = plan.inputs
        self.problems: list[DefinitionError] = []
        self._handlers: dict[tuple[str, str], Handler | None] = {}
        self._more: dict[int, dict[str, Any]] = {}
        self._judged: dict[int, frozenset[int]] = {}
        """Children of which a part is looked at by a condition."""
        control = plan.conditions or plan.lists
        if control or plan.effects or links or sum(plan.pending) != sum(map(len, plan.inputs)):
            self._find_more(links, space.policies)

    def rows(self) -> list[bytes]:
        """A row for each job; none for one whose data is wrong."""
        rows: list[bytes] = []
        names, more, plan = self.names, self._more, self.plan
        columns = zip(plan.ids, self.kinds, plan.bindings, self.inputs, plan.tasks, strict=False)
        for job, (job_id, kind, binding, inputs, task) in enumerate(columns):
            extra = more.get(job) if more else None
            text = f"[{quote(job_id)},{kind}"
            if type(binding) is tuple:
                if task is None:
                    self._check_data(job, _NOTHING)
                if inputs:
                    if binding != inputs and tuple(dict.fromkeys(binding)) != inputs:
                        extra = {"c": inputs} if extra is None else extra | {"c": inputs}
                    text += f",{encode(binding)},{quote(IDS.join([names[child] for child in inputs]))}"
                elif extra is not None:
                    text += ',0,""'
            else:
                try:
                    if task is None:
                        self._check(job, cast("Arguments", binding).kwargs)
                    written, parted = data_to(cast("Arguments", binding), self._limit, plan, job)
                    text += f",{written}"
                except DefinitionError as error:
                    self.problems.append(error)
                    continue
                extra = self.more_with_data(job, parted)
                if inputs:
                    text += f",{quote(IDS.join([names[child] for child in inputs]))}"
                elif extra is not None:
                    text += ',""'
            text += "]" if extra is None else f",{encode(extra)}]"
            rows.append(text.encode())
        return rows

    def forget(self) -> RowWriter:
        """Let go of the plan, its data and its tasks: what is in its columns stays known."""
        self.plan = cast("Plan[Any]", None)
        self._handlers.clear()
        return self

    def more_with_data(self, job: int, parted: frozenset[int]) -> dict[str, Any] | None:
        """``more`` of a job that takes other things than whole results, and parts of those of *parted*."""
        extra, inputs = self._more.get(job), self.inputs[job]
        if not inputs:
            return extra
        extra = {"c": inputs} if extra is None else extra | {"c": inputs}
        return extra | self._parted(job, parted) if parted else extra

    def _parted(self, job: int, parted: frozenset[int]) -> dict[str, Any]:
        """Children of which a part is taken: by the job's arguments, or looked at by its conditions."""
        children = sorted(parted | self._judged.get(job, NOBODY))
        kinds = [(child, self.kinds[child]) for child in children if self.kinds[child] != NO_KIND]
        return {"p": kinds} if kinds else {}

    def _check_data(self, job: int, data: Mapping[str, Any]) -> None:
        try:
            self._check(job, data)
        except DefinitionError as error:
            self.problems.append(error)

    def _check(self, job: int, data: Mapping[str, Any]) -> None:
        """Check the data of a literal job against its handler's type hints, if that is known here.

        Raises:
            DataError: It does not fit.
        """
        plan = self.plan
        place = plan.names[job], plan.queues_of[job]
        if place not in self._handlers:
            task = _registry.find(*place)
            self._handlers[place] = None if task is None else handler_of(task)
        handler = self._handlers[place]
        if handler is not None:
            handler.parameters.validated(data, f"job {plan.ids[job]!r}")

    def _find_more(self, links: Sequence[Outer], policies: Sequence[str]) -> None:
        """What few jobs have."""
        plan = self.plan
        more: dict[int, dict[str, Any]] = {}
        into: dict[int, list[tuple[int, int]]] = {}
        for child, dependent, code in (*plan.edges(), *links):
            into.setdefault(dependent, []).append((child, code))
        for job, edges in into.items():
            if [*edges] != [(child, 0) for child in sorted(plan.inputs[job])]:
                more.setdefault(job, {})["e"] = edges
        for job, children in plan.optional.items():
            more.setdefault(job, {})["o"] = sorted(children)
        removing = {place for place, policy in enumerate(policies) if policy == "remove"}
        for job, inputs in enumerate(plan.inputs) if removing else ():
            removed = [child for child in inputs if child in removing and child not in plan.optional.get(job, ())]
            if removed:
                more.setdefault(job, {})["r"] = removed
        if plan.conditions:
            self.inputs = list(plan.inputs)
        for job, conditions in plan.conditions.items():
            self._add_conditions(job, conditions, more.setdefault(job, {}))
        for job, body in self._lists.items():
            more.setdefault(job, {})["l"] = body
        self._more = more

    def _add_conditions(self, job: int, conditions: Sequence[Any], more: dict[str, Any]) -> None:
        inputs = self.inputs[job]
        judged = [one.child for one in conditions if type(one) is Pick and one.child not in inputs]
        escaping = Escaping(self._limit)
        more["w"] = escaping.escaped(list(conditions), f"job {self.plan.ids[job]!r}: its condition")
        self._judged[job] = frozenset(escaping.parted)
        more |= self._parted(job, NOBODY)
        if judged:
            more["n"] = len(inputs)
            self.inputs[job] = more["c"] = (*inputs, *dict.fromkeys(judged))


def data_to(binding: Arguments, limit: int, plan: Plan[Any], job: int) -> tuple[str, frozenset[int]]:
    """The arguments of a job as JSON, and the children of which a part is taken.

    Raises:
        DataError: Something in them has no JSON form, or they are larger than *limit*.
    """
    args, kwargs = binding.args, binding.kwargs
    if binding.plain and _SURE.issuperset(map(type, args)):
        text = encode(args)
        if len(text) < _SHORT and text.isascii() and "$" not in text:
            return f'{{"a":{text}}}', NOBODY
    spot = f"job {plan.ids[job]!r}: data"
    data: dict[str, Any] = {}
    escaping = Escaping(limit)
    if args:
        data["a"] = [escaping.escaped(value, f"{spot}[{place}]") for place, value in enumerate(args)]
    if kwargs:
        data["k"] = escaping.escaped(kwargs, spot, depth=-1)
    if binding.by_name:
        data["n"] = 1
    text = encode(data)
    if len(text) * 4 > limit:  # characters may have up to four bytes
        size = len(encode(without_places(data)).encode())
        if size > limit:
            raise TooLargeError(f"{spot}: {sized(size)} of JSON are more than the {sized(limit)} that are kept")
    return text, frozenset(escaping.parted)


def rows_from(payloads: Iterable[bytes]) -> list[list[Any]]:
    """The rows that were stored, read at one go.

    Raises:
        ValueError: One has been damaged.
    """
    return read_all(payloads)


class ListRow(list[Any]):
    """The row of a job whose only argument is a list, or a tuple, of the whole results of all that it depends on.

    Attributes:
        kind: Which of both.
        children: Of whom, in order.
    """

    kind: type
    children: list[int]


_list_rows: dict[bytes, ListRow] = {}
"""Those that were read before. They hold no data, so that they are the same in all runs of a flow."""


def row_from(payload: bytes) -> list[Any]:
    """A row that was stored. It is not to be changed: others may have it.

    Raises:
        ValueError: It has been damaged.
    """
    if LISTED not in payload:
        return cast("list[Any]", read(payload))
    known = _list_rows.get(payload)
    if known is not None:
        return known
    row: list[Any] = read(payload)
    if len(row) == 5 and type(row[2]) is dict and row[2].keys() == {"a"} and row[4].keys() == {"c"}:
        args = row[2]["a"]
        if len(args) == 1 and type(args[0]) is Picks:
            known = ListRow(row)
            known.kind, known.children = args[0]
            if len(payload) <= KEPT_BYTES:
                # Without a lock, as the steps are atomic, and what is lost or read twice does no harm.
                if len(_list_rows) >= KEPT_ROWS:
                    _list_rows.clear()
                _list_rows[payload] = known
            return known
    return row


def more_of(row: Sequence[Any]) -> Mapping[str, Any]:
    """What few jobs have."""
    return row[4] if len(row) > 4 else _NOTHING


def children_of(row: Sequence[Any]) -> Sequence[int]:
    """The children whose ends a grant brings along."""
    if len(row) < 4 or not row[3]:
        return ()
    children: Sequence[int] | None = more_of(row).get("c")
    return list(dict.fromkeys(row[2])) if children is None else children


def arguments_of(row: Sequence[Any]) -> Binding:
    """How results and data become arguments."""
    written: Any = row[2] if len(row) > 2 else 0
    if type(written) is dict:
        return Arguments(tuple(written.get("a", ())), written.get("k", {}), by_name="n" in written)
    return tuple(written) if written else ()
