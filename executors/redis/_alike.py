"""Runs of one shape: what a server stores of all of them is worked out once, and sent once a call.

A program mostly submits the same few flows again and again (see `executors._stored._blanks`). What such a run has
of its own are six arguments of a script that takes many runs; see ``lua/put_alike.lua``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from struct import Struct
from typing import Any, Final, NamedTuple

from executors._stored import Packed
from executors.redis import _layout as layout

RUNS_AT_ONCE: Final = 64
BYTES_AT_ONCE: Final = 1 << 17
"""What one call brings at most, unless one run has more: a few milliseconds of the server's time."""

_FORM: Final = "redis"
_ROW_LENGTH_AT: Final = Struct("<HHHI").size
"""Where a record has it."""

_U32: Final = Struct("<I")


class Form:
    """What the runs of one shape have in common on a server.

    Attributes:
        common: What a call has for all of them.
        lengths: Of the rows of one of them.
        records, begins: Of that one: the records of its jobs, and where its rows begin.
    """

    __slots__ = ("begins", "common", "lengths", "records")

    def __init__(self, common: Sequence[Any], lengths: list[int], records: bytes) -> None:
        self.common = common
        self.lengths = lengths
        self.records = records
        self.begins = _begins(lengths)


class AlikeRun(NamedTuple):
    """A small run that nothing is odd about, as a shard takes it.

    Attributes:
        records, rows: Of its jobs, as they are stored.
    """

    run_id: str
    key: str
    fingerprint: str
    header: bytes
    records: bytes
    rows: bytes
    form: Form

    @property
    def size(self) -> int:
        """Bytes that it adds to a call, about."""
        return len(self.header) + len(self.records) + len(self.rows)


def alike(run: Packed) -> AlikeRun | None:
    """A run of a form that is known; None for others, and where a row of it is so long that it is set apart."""
    form: Form | None = None if run.kept is None else run.kept.get(_FORM)
    if form is None:
        return None
    rows = run.rows
    lengths = list(map(len, rows))
    records, begins = form.records, form.begins
    if lengths != form.lengths:
        if max(lengths) >= layout.LONG:
            return None
        records, begins = _with_lengths(form, lengths), _begins(lengths)
    options = run.options
    return AlikeRun(
        *(options.run_id, options.key or "", run.fingerprint, run.header, records),
        *(begins + b"".join(rows), form),
    )


def keep_form(run: Packed, laid: layout.Layout, common: Sequence[Any]) -> None:
    """Remember what a run that was laid out has in common with others of its shape.

    Args:
        common: As ``put_alike`` takes it.
    """
    if run.kept is not None:
        (bucket,) = laid.buckets
        run.kept[_FORM] = Form(common, [len(row) for row in run.rows], bucket.records)


def portions(runs: Iterable[AlikeRun]) -> Iterator[list[AlikeRun]]:
    """Runs as they go together: of one form, and not too many."""
    open_ones: dict[int, tuple[list[AlikeRun], int]] = {}
    for run in runs:
        form = id(run.form)
        some, size = open_ones.get(form, ([], 0))
        if some and (len(some) >= RUNS_AT_ONCE or size + run.size > BYTES_AT_ONCE):
            yield some
            some, size = [], 0
        some.append(run)
        open_ones[form] = some, size + run.size
    for some, _ in open_ones.values():
        yield some


def arguments(runs: Sequence[AlikeRun]) -> list[Any]:
    """Those of ``put_alike`` for runs of one form."""
    given = list(runs[0].form.common)
    for run in runs:
        given += run[:6]
    return given


def holders(runs: Sequence[AlikeRun], told: Sequence[Any], holder: Callable[[str, str], Any]) -> list[Any]:
    """Who has the key of each run, from what was answered."""
    found = [holder(run.run_id, run.fingerprint) for run in runs]
    for place, held, fingerprint in zip(told[::3], told[1::3], told[2::3], strict=True):
        found[place] = holder(held.decode(), fingerprint.decode())
    return found


def _begins(lengths: Sequence[int]) -> bytes:
    return layout.u32s([*accumulate(lengths, initial=4 * len(lengths) + 4)])


def _with_lengths(form: Form, lengths: Sequence[int]) -> bytes:
    """The records of a run with rows of other lengths."""
    records = bytearray(form.records)
    at = _ROW_LENGTH_AT
    for before, length in zip(form.lengths, lengths, strict=True):
        if before != length:
            _U32.pack_into(records, at, length)
        at += layout.RECORD.size
    return bytes(records)
