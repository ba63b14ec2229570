"""Blanks: a small flow as it was written, without its data, to be filled in for the next of its shape.

A program mostly submits the same few flows again and again. All that a store is given of such a flow but the run's own
(its id, key and trace) and what its jobs' arguments hold follows from the shape of the plan, which the planner has
recognised, and from a few options of the run; it was written down before.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from json.encoder import encode_basestring as quote
from typing import Any, Final, cast

from executors._stored._header import write_header
from executors._stored._json import encode
from executors._stored._rows import IDS, RowWriter, data_to
from executors._stored._shape import Packed, Shape
from flows._binding import Arguments, Picks
from flows._plan import Plan
from flows._shapes import SHAPE_JOBS
from flows.errors import DefinitionError
from flows.executor import RunOptions

VARIANTS: Final = 16
"""For so many sets of run options the rest of a header is kept; then they are written anew."""


class _Blank:
    """The rows of the jobs of a shape, without data.

    Args:
        writer: Has written the rows of such a plan.
        shape: The numbers that go with them.
    """

    def __init__(self, plan: Plan[Any], writer: RowWriter, shape: Shape) -> None:
        self.shape = shape
        self.variants: dict[Hashable, tuple[str, dict[str, Any]]] = {}
        self._writer = writer.forget()
        self._whole: list[bytes | None] = [None] * len(plan)
        """Rows of jobs that take nothing but whole results, or nothing at all."""
        self._lists: list[tuple[type, list[int], str] | None] = [None] * len(plan)
        """What was written last for jobs whose only argument is a list of whole results."""
        self._heads = [f"[{quote(name)},{kind}," for name, kind in zip(writer.names, writer.kinds, strict=True)]
        names = [IDS.join([writer.names[child] for child in inputs]) for inputs in plan.inputs]
        self._ids = [f",{quote(those)}" if those else "" for those in names]
        self._tails = [self._tail(job, frozenset()) for job in range(len(plan))]

    def learn(self, plan: Plan[Any], rows: Sequence[bytes]) -> None:
        """Keep those rows that have no data."""
        for job, binding in enumerate(plan.bindings):
            if type(binding) is tuple:
                self._whole[job] = rows[job]

    def rows(self, plan: Plan[Any], limit: int) -> list[bytes] | None:
        """The rows of another plan of the shape; None where something about it is new.

        Raises:
            DefinitionError: Data is wrong; all that is, in one error.
        """
        rows: list[bytes] = []
        problems: list[DefinitionError] = []
        for job, binding in enumerate(plan.bindings):
            if type(binding) is tuple:
                row = self._whole[job]
                if row is None:
                    return None
                rows.append(row)
                continue
            arguments = cast("Arguments", binding)
            try:
                text = self._listed(job, arguments, plan, limit)
                if text is None:
                    written, parted = data_to(arguments, limit, plan, job)
                    text = written + (self._tail(job, parted) if parted else self._tails[job])
            except DefinitionError as error:
                problems.append(error)
                continue
            rows.append((self._heads[job] + text).encode())
        if problems:
            raise DefinitionError.of(problems)
        return rows

    def _listed(self, job: int, binding: Arguments, plan: Plan[Any], limit: int) -> str | None:
        """The end of a row whose job takes a list of whole results, and nothing else."""
        args = binding.args
        if len(args) != 1 or type(args[0]) is not Picks or binding.kwargs or binding.by_name:
            return None
        kind, children = args[0]
        last = self._lists[job]
        if last is not None and last[0] is kind and last[1] == children:
            return last[2]
        written, _ = data_to(binding, limit, plan, job)
        text = written + self._tails[job]
        self._lists[job] = kind, children, text
        return text

    def _tail(self, job: int, parted: frozenset[int]) -> str:
        extra = self._writer.more_with_data(job, parted)
        ids = self._ids[job]
        return ids + "]" if extra is None else (ids or ',""') + f",{encode(extra)}]"


def blank_of(
    plan: Plan[Any], options: RunOptions, writer: RowWriter, rows: Sequence[bytes], shape: Shape, common: str
) -> dict[str, Any] | None:
    """Keep what was written of *plan* for the next of its shape, if there may be one.

    Args:
        writer: Has written *rows*.
        shape: What was found with them.
        common: What the header has in common with others.

    Returns:
        See `Packed.kept`.
    """
    traits = plan._traits
    if traits is None or len(plan) > SHAPE_JOBS or plan.lists or plan.conditions or None in plan.tasks:
        return None
    blank: _Blank | None = traits.written
    if blank is None:
        blank = traits.written = _Blank(plan, writer, shape)
    blank.learn(plan, rows)
    if len(blank.variants) >= VARIANTS:
        blank.variants = {}
    kept: dict[str, Any] = {}
    blank.variants[_variant(plan, options)] = common, kept
    return kept


def filled(plan: Plan[Any], options: RunOptions, limit: int) -> Packed | None:
    """A plan of a shape that has been written before, with as little work as that leaves; else None.

    Args:
        limit: Bytes of data that a job may have.

    Raises:
        DefinitionError: Data is wrong, or too large.
    """
    traits = plan._traits
    blank: _Blank | None = None if traits is None else traits.written
    if blank is None:
        return None
    variant = blank.variants.get(_variant(plan, options))
    if variant is None:
        return None
    rows = blank.rows(plan, limit)
    if rows is None:
        return None
    common, kept = variant
    fingerprint = "" if options.key is None else plan.fingerprint
    header = write_header(options, fingerprint, common)
    return Packed(header, rows, blank.shape, [], options, plan.limits, plan.name, fingerprint, kept)


def _variant(plan: Plan[Any], options: RunOptions) -> Hashable:
    """What decides about the rest of a header, beside the shape."""
    return (
        *(plan.name, plan.several, options.timeout, options.fail_fast, options.keep, options.keep_failed),
        *(options.keep_count, options.key_ttl),
    )
