"""Shapes in the file: written chunk by chunk, and read as far as somebody looks."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from executors._stored import GATED, LIST, SHARES, Outer, Packed, PackedBody, Shape
from executors.sqlite._columns import MASK, SHIFT, SIZE

_NUMBERS: Final = ("queue", "priority", "lifo", "delay_ms", "attempts", "flags")
_LINKS: Final = ("edges", "inputs")


def facts_of(packed: Packed) -> dict[str, Any]:
    """What is kept of a flow as a whole, beside its header."""
    shapes = [packed.shape, *[body.shape for body in packed.bodies]]
    flags = {flag for shape in shapes for flag in set(shape.flags)}
    return {
        "size": packed.shape.size,
        "roots": packed.shape.roots,
        "queues": packed.shape.queues,
        "delayed": any(any(shape.delay_ms) for shape in shapes),
        "gated": any(flag & GATED for flag in flags),
        "listed": any(flag & LIST for flag in flags),
        "sharing": any(flag & SHARES for flag in flags),
        "fail_fast": packed.options.fail_fast,
        "timeout": packed.options.timeout,
        "keep": packed.options.keep,
        "keep_failed": packed.options.keep_failed,
        "keep_count": packed.options.keep_count,
        "key_ttl": packed.options.key_ttl,
    }


def written(shape: Shape) -> Iterator[str]:
    """The shape as the file has it, chunk by chunk."""
    for first in range(0, shape.size, SIZE):
        part = range(first, min(first + SIZE, shape.size))
        row: dict[str, Any] = {}
        for name in _NUMBERS:
            numbers = [int(one) for one in getattr(shape, name)[first : first + SIZE]]
            row[name] = numbers if len(set(numbers)) > 1 else numbers[0]
        for name in _LINKS:
            row[name] = [list(one) for one in getattr(shape, name)[first : first + SIZE]]
        row["codes"] = {job: shape.codes[job] for job in part if job in shape.codes} if shape.codes else {}
        row["body"] = {job: shape.body[job] for job in part if job in shape.body} if shape.body else {}
        yield json.dumps(row, separators=(",", ":"))


def written_bodies(bodies: Sequence[PackedBody]) -> str:
    """The bodies as the file has them."""
    return json.dumps([_written_body(body) for body in bodies], separators=(",", ":"))


def _written_body(body: PackedBody) -> dict[str, Any]:
    shape = body.shape
    return {
        "shape": {
            **{name: [int(one) for one in getattr(shape, name)] for name in (*_NUMBERS, "pending")},
            **{name: [list(one) for one in getattr(shape, name)] for name in _LINKS},
            "size": shape.size,
            "roots": shape.roots,
            "queues": shape.queues,
            "codes": shape.codes,
            "body": shape.body,
        },
        **{name: getattr(body, name) for name in ("root", "root_effect", "drops", "limit")},
        "links": list(body.links),
        "outer": [list(edge) for edge in body.outer],
    }


def read_bodies(text: str) -> list[PackedBody]:
    """The bodies from the file."""
    bodies = []
    for one in json.loads(text):
        shape = one.pop("shape")
        for name in ("codes", "body"):
            shape[name] = {int(job): value for job, value in shape[name].items()}
        bodies.append(PackedBody(Shape(**shape), **{**one, "outer": [Outer(*edge) for edge in one["outer"]]}))
    return bodies


class _Chunks:
    """The chunks of a shape in the file, each read once."""

    __slots__ = ("_fetch", "_known")

    def __init__(self, fetch: Callable[[int], str]) -> None:
        self._fetch = fetch
        self._known: dict[int, dict[str, Any]] = {}

    def __getitem__(self, chunk: int) -> dict[str, Any]:
        found = self._known.get(chunk)
        if found is None:
            found = self._known[chunk] = json.loads(self._fetch(chunk))
            for name in ("codes", "body"):
                found[name] = {int(job): value for job, value in found[name].items()}
        return found


class _Read:
    """A column of a shape in the file."""

    __slots__ = ("_chunks", "_name")

    def __init__(self, chunks: _Chunks, name: str) -> None:
        self._chunks = chunks
        self._name = name

    def __getitem__(self, job: int) -> Any:
        found = self._chunks[job >> SHIFT][self._name]
        return found[job & MASK] if type(found) is list else found

    def __len__(self) -> int:
        raise TypeError("a run in a file is not gone through as a whole")


class _ReadSparse:
    """A column of a shape in the file that few jobs stand in."""

    __slots__ = ("_chunks", "_name")

    def __init__(self, chunks: _Chunks, name: str) -> None:
        self._chunks = chunks
        self._name = name

    def get(self, job: int) -> Any:
        return self._chunks[job >> SHIFT][self._name].get(job)

    def __getitem__(self, job: int) -> Any:
        return self._chunks[job >> SHIFT][self._name][job]


def read_shape(facts: Mapping[str, Any], fetch: Callable[[int], str]) -> Shape:
    """The shape of a flow in the file, read as far as it is looked at."""
    chunks = _Chunks(fetch)
    columns: Any = {name: _Read(chunks, name) for name in (*_NUMBERS, *_LINKS)}
    sparse: Any = {name: _ReadSparse(chunks, name) for name in ("codes", "body")}
    size, roots, queues = facts["size"], tuple(facts["roots"]), facts["queues"]
    return Shape(size=size, roots=roots, queues=queues, pending=array("i"), **columns, **sparse)
