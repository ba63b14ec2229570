"""The columns of a run as the machine sees them: read from the file a chunk at a time, when they are first looked at.

A chunk is 128 jobs: packed, the four dense columns as they stand in the file; and what the sparse ones say of these
jobs. What was written is known by chunk, so that a step writes back as many rows as it has touched.

Of a run that was submitted here all chunks are known, side by side in memory: there whoever says beforehand which jobs
it is about to change may use the plain columns (`Columns.flat`), which cost a third.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

SHIFT: Final = 7
SIZE: Final = 1 << SHIFT
MASK: Final = SIZE - 1

_PENDING, _ORDINAL, _FENCE, _END = SIZE, SIZE * 5, SIZE * 9, SIZE * 17

SPARSE: Final = (
    *("dooms", "skips", "cancels", "conts", "cause", "cut", "made", "lost", "lists", "begun"),
    *("judged", "erred", "since", "replayed", "gone", "linked"),
)
"""Columns that are mostly absent. Their order is that of the file: add to the end only.

The last ones are the store's: gated jobs whose condition holds; jobs that ended with an error of their own; when the
first attempt of a job began, where there was another; jobs that took the result of another; jobs that are not of the
run any more; jobs that share their results with the items of a list.
"""

Read = Callable[[int], tuple[bytes, str | None] | None]
"""Chunk number -> what the file has of it."""


class Flat(NamedTuple):
    """The dense columns of a whole run, as plain memory."""

    state: Any
    pending: Any
    ordinal: Any
    fence: Any


class Columns:
    """All columns of one run.

    Args:
        read: Fetches a chunk; None where the file has none yet, which is one of zeros.
        kinds: Which of the sparse columns were ever written, a bit each.

    Attributes:
        dirty: Chunks that were changed since they were last written.
        flat: The dense columns as a whole, where all of the run is known.
    """

    __slots__ = ("_read", "_told", "dirty", "fence", "flat", "ordinal", "pending", "sparse", "state")

    def __init__(self, read: Read, kinds: int = 0) -> None:
        self._read = read
        self._told: dict[int, dict[str, dict[str, int]]] = {}
        self.dirty: set[int] = set()
        self.flat: Flat | None = None
        self.state = Dense(self, 0)
        self.pending = Dense(self, 1)
        self.ordinal = Dense(self, 2)
        self.fence = Dense(self, 3)
        self.sparse = {name: Sparse(self, name, bool(kinds >> place & 1)) for place, name in enumerate(SPARSE)}

    @property
    def kinds(self) -> int:
        """Which of the sparse columns were ever written, a bit each."""
        return sum(1 << place for place, name in enumerate(SPARSE) if self.sparse[name].ever)

    def take(self, chunk: int, dense: bytes | bytearray, sparse: str | None = None) -> None:
        """Know a chunk from now on."""
        view = memoryview(bytearray(dense))
        self.state.views[chunk] = view[:_PENDING]
        self.pending.views[chunk] = view[_PENDING:_ORDINAL].cast("i")
        self.ordinal.views[chunk] = view[_ORDINAL:_FENCE].cast("I")
        self.fence.views[chunk] = view[_FENCE:_END].cast("q")
        if sparse is not None:
            self._told[chunk] = json.loads(sparse)

    def take_all(self, state: bytes | bytearray, pending: array[int]) -> None:
        """Know all of a new run from now on."""
        size = -len(state) % SIZE + len(state)
        self.flat = flat = Flat(
            memoryview(bytearray(state).ljust(size, b"\0")),
            memoryview(bytearray(pending.tobytes()).ljust(size * 4, b"\0")).cast("i"),
            memoryview(bytearray(size * 4)).cast("I"),
            memoryview(bytearray(size * 8)).cast("q"),
        )
        for column, whole in zip((self.state, self.pending, self.ordinal, self.fence), flat, strict=True):
            column.views.update((chunk, whole[chunk << SHIFT : chunk + 1 << SHIFT]) for chunk in range(size >> SHIFT))

    def changing(self, jobs: Iterable[int]) -> None:
        """These jobs are about to be changed in `flat`."""
        self.dirty.update({job >> SHIFT for job in jobs})

    def dense(self, chunk: int) -> bytes:
        """The dense part of a chunk as the file has it."""
        return b"".join([column.views[chunk] for column in (self.state, self.pending, self.ordinal, self.fence)])

    def load(self, chunk: int) -> None:
        """Fetch a chunk that is not known yet."""
        if chunk not in self.state.views:
            found = self._read(chunk)
            if found is None:
                self.take(chunk, bytes(_END))
            else:
                self.take(chunk, *found)

    def told(self, chunk: int, name: str) -> dict[int, int]:
        """What a sparse column says of the jobs of a chunk."""
        self.load(chunk)
        entries = self._told.get(chunk)
        found = entries.get(name) if entries else None
        first = chunk << SHIFT
        return {first + int(place): value for place, value in found.items()} if found else {}

    def flushed(self) -> list[tuple[int, bytes, str | None]]:
        """The chunks that were changed, as the file has them: number, dense part, sparse part."""
        written = [column for column in self.sparse.values() if column.ever]
        rows = [
            (chunk, self.dense(chunk), _sparse(written, chunk) if written else None) for chunk in sorted(self.dirty)
        ]
        self.dirty.clear()
        return rows


class Dense:
    """A column with a number for each job."""

    __slots__ = ("_dirty", "_kind", "_of", "views")

    def __init__(self, columns: Columns, kind: int) -> None:
        self.views: dict[int, Any] = _Views(columns, kind)
        self._of = columns
        self._dirty = columns.dirty
        self._kind = kind

    def __iter__(self) -> Iterator[int]:
        raise TypeError("a run in a file is not gone through as a whole")

    def __getitem__(self, job: int) -> int:
        value: int = self.views[job >> SHIFT][job & MASK]
        return value

    def __setitem__(self, job: int, value: int) -> None:
        chunk = job >> SHIFT
        self.views[chunk][job & MASK] = value
        self._dirty.add(chunk)


class _Views(dict[int, Any]):
    """Chunk number -> its part of a column; fetched when asked for."""

    __slots__ = ("_columns", "_kind")

    def __init__(self, columns: Columns, kind: int) -> None:
        self._columns = columns
        self._kind = kind

    def __missing__(self, chunk: int) -> Any:
        self._columns.load(chunk)
        return self[chunk]


class Sparse:
    """A column that is mostly absent, like a dict; true if anything was ever written to it.

    Attributes:
        ever: Whether it was; where it was not, nothing is looked up.
    """

    __slots__ = ("_columns", "_of", "ever", "name")

    def __init__(self, columns: Columns, name: str, ever: bool) -> None:
        self._columns = columns
        self._of: dict[int, dict[int, int]] = {}
        self.name = name
        self.ever = ever

    def of(self, chunk: int) -> dict[int, int]:
        """What is said of the jobs of a chunk."""
        found = self._of.get(chunk)
        if found is None:
            found = self._of[chunk] = self._columns.told(chunk, self.name)
        return found

    def __bool__(self) -> bool:
        return self.ever

    def __contains__(self, job: int) -> bool:
        return self.ever and job in self.of(job >> SHIFT)

    def get(self, job: int, default: Any = None) -> Any:
        return self.of(job >> SHIFT).get(job, default) if self.ever else default

    def __getitem__(self, job: int) -> int:
        return self.of(job >> SHIFT)[job]

    def __setitem__(self, job: int, value: int) -> None:
        self.of(job >> SHIFT)[job] = value
        self.ever = True
        self._columns.dirty.add(job >> SHIFT)

    def __delitem__(self, job: int) -> None:
        del self.of(job >> SHIFT)[job]
        self._columns.dirty.add(job >> SHIFT)

    def setdefault(self, job: int, default: int) -> int:
        """As of a dict."""
        if job not in self:
            self[job] = default
        return self[job]

    def pop(self, job: int, *default: Any) -> Any:
        """As of a dict."""
        if job in self:
            value = self[job]
            del self[job]
            return value
        if default:
            return default[0]
        raise KeyError(job)

    def discard(self, job: int) -> None:
        """As of a set."""
        self.pop(job, None)

    def add(self, job: int) -> None:
        """As of a set."""
        self[job] = 1


def _sparse(columns: list[Sparse], chunk: int) -> str | None:
    first = chunk << SHIFT
    found = {
        column.name: {str(job - first): value for job, value in entries.items()}
        for column in columns
        if (entries := column.of(chunk))
    }
    return json.dumps(found, separators=(",", ":")) if found else None
