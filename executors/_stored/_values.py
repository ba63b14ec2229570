"""Values, failures and templates as JSON, and back.

Plain data is written as it is. What JSON has no form for is written as a dict with one key that begins with
``$flows:``: a `Failed` among the items of a list, and in templates the places that results go to. A key of a user's
that begins with ``$flows`` gets ``$flows.`` in front, and loses it when read, so that no data can be taken for these.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from json import JSONDecoder
from typing import Any, Final

from executors._stored._json import decode, encode
from executors._stored._limits import LIMITS, sized
from executors._stored._shape import Input
from flows import _causes
from flows._binding import DEPTH_LIMIT, Pick, Picks
from flows._codec import INT_RANGE, jsonable, text_of, written_by_pydantic
from flows._json_text import spelled
from flows._names import shown
from flows._state import CANCELLED, COMPLETED, FAILED, SKIPPED, STATE_NAMES
from flows.errors import DataError, Failed

_RESERVED: Final = "$flows"
_ESCAPE: Final = "$flows."
_FAILED: Final = "$flows:failed"
_PICK: Final = "$flows:pick"
_PICKS: Final = "$flows:picks"
LISTED: Final = b'"%s"' % _PICKS.encode()
"""Is in what is written where a list of whole results stands."""
_MARK: Final = b'"$flows'
"""In every payload that has more than plain data in it; rarely in others, which then only take longer to read."""

_LOW, _HIGH = INT_RANGE
NULL: Final = b"null"
"""The payload of None; one that is empty, which takes no room, means the same."""

_CONSTANTS: Final = {None: NULL, True: b"true", False: b"false"}
_FREE: Final = frozenset((str, float, bool, type(None)))
_TEXT: Final = frozenset((str,))
_PLAIN: Final = frozenset((*_FREE, int, dict, list, tuple))


class TooLargeError(DataError):
    """Data or a result has more bytes than the store takes."""


def write(value: Any, spot: str, limit: int = LIMITS.result) -> bytes:
    """*value* as JSON; models, dataclasses, dates and the like as pydantic writes them.

    Args:
        value: Of which tuples come back as lists.
        spot: What it is, for messages.
        limit: Bytes at most.

    Raises:
        DataError: Something in it has no JSON form, or would come back as something else; `TooLargeError` where
            it is larger than *limit*.
    """
    kind = type(value)
    if kind is int:
        if _LOW <= value <= _HIGH:
            return b"%d" % value
    elif value is None or kind is bool:
        return _CONSTANTS[value]
    payload = _quickly(value, kind, limit)
    if payload is None or _MARK in payload:
        payload = encode(escaped(value, spot, limit)).encode()
    if len(payload) > limit:
        raise TooLargeError(f"{spot}: {sized(len(payload))} of JSON are more than the {sized(limit)} that are kept")
    return payload


def read(payload: bytes) -> Any:
    """The value that `write` wrote; None for an empty payload."""
    if not payload:
        return None
    return _read_marked(payload) if _MARK in payload else decode(payload)


def read_all(payloads: Iterable[bytes]) -> list[Any]:
    """What each of *payloads* says, read at one go."""
    values: list[Any] = read(b"[%b]" % b",".join([payload or NULL for payload in payloads]))
    return values


def write_failed(failed: Failed) -> bytes:
    """A failure as JSON: an object with the fields of `Failed`."""
    return encode(_fields(failed)).encode("utf-8", "backslashreplace")


def read_failed(payload: bytes) -> Failed:
    """The failure that `write_failed` wrote."""
    return _failed_of(decode(payload))


def failed_of(job: str, end: Input, reason: str = "") -> Failed:
    """Why a child did not complete, as its dependents are told.

    Args:
        job: The child's id.
        end: How it ended.
        reason: Why the run was cancelled, if it was.
    """
    if end.state == CANCELLED:
        return _causes.cancelled(job, reason)
    if end.payload is not None:
        own = read_failed(end.payload)
        if end.first is None and own.job == job:
            return own
        if end.state == FAILED:
            return _causes.dependency_failed(job, own)
        if end.state == SKIPPED:
            return _causes.skipped_after(job, own.job, STATE_NAMES.index(own.state))
    return _causes.not_ended(job)


def gathered(items: Iterable[Input], *, drops: bool, id_of: Callable[[int], str], reason: str = "") -> bytes:
    """The value of a list that has completed, from how its items ended, in their order.

    Args:
        items: The root job of each item.
        drops: Whether one that did not complete is left out; see `PackedBody.drops`.
        id_of: Gives a job's id; asked only about those that did not complete.
        reason: Why the run was cancelled, if it was.
    """
    parts = []
    for item in items:
        if item.state == COMPLETED and item.payload is not None:
            parts.append(item.payload or NULL)
        elif not drops:
            failed = failed_of(id_of(item.child), item, reason)
            parts.append(b'{"%b":%b}' % (_FAILED.encode(), write_failed(failed)))
    return b"[%b]" % b",".join(parts)


def without_places(written: Any) -> Any:
    """What `escaped` gave without the places that results go to: those are ours, and do not count as the user's."""
    if isinstance(written, dict):
        return {key: without_places(item) for key, item in written.items() if not _is_place(item)}
    return [without_places(item) for item in written if not _is_place(item)] if isinstance(written, list) else written


def _is_place(written: Any) -> bool:
    return isinstance(written, dict) and len(written) == 1 and not written.keys().isdisjoint((_PICK, _PICKS))


def escaped(value: Any, spot: str, limit: int = LIMITS.data, depth: int = 0) -> Any:
    """*value*, which may be a template, in JSON's own types, with all that is more than plain data marked.

    Args:
        value: Anything.
        spot: What it is, for messages.
        limit: Bytes at most; whatever is certain to need more is refused before it is written.
        depth: How deep it stands already.

    Raises:
        DataError: Something in it has no JSON form, or would come back as something else.
    """
    return Escaping(limit).escaped(value, spot, depth)


class Escaping:
    """One walk through a value; counts what it meets, as a small value may hold the same parts over and over.

    Attributes:
        parted: The children of which a part is taken, and not the whole result.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.room = limit
        self.parted: set[int] = set()

    def escaped(self, value: Any, spot: str, depth: int = 0) -> Any:
        """See the function of the same name."""
        kind = type(value)
        if value is None or kind in _FREE or kind is int:
            return jsonable(value, spot)
        if kind is Pick:
            if value.path:
                self.parted.add(value.child)
            return {_PICK: [value.child, list(value.path), value.optional]}
        if kind is Picks:
            return {_PICKS: [value.kind is tuple, value.children]}
        if kind is Failed:
            return {_FAILED: _fields(value)}
        if depth >= DEPTH_LIMIT:
            raise DataError(f"{spot}: data nests deeper than {DEPTH_LIMIT} levels, or is circular")
        if isinstance(value, dict | list | tuple):
            self.room -= 2 * len(value) + 1
            if self.room < 0:
                raise TooLargeError(f"{spot}: it is larger than the {sized(self.limit)} that are kept")
            depth += 1
            if isinstance(value, dict):
                return {
                    _key(key, spot): self.escaped(item, f"{spot}{spelled(key)}", depth) for key, item in value.items()
                }
            return [self.escaped(item, f"{spot}[{place}]", depth) for place, item in enumerate(value)]
        return self.escaped(written_by_pydantic(value, spot), spot, depth + 1)


def _quickly(value: Any, kind: type[Any], limit: int) -> bytes | None:
    """*value* as JSON, where it is plain data and nothing about it needs a closer look."""
    if kind is not str and kind is not float and not _is_plain(value, kind, limit):
        return None
    try:
        return encode(value).encode()
    except ValueError:  # a number that is not finite, a lone surrogate
        return None


def _is_plain(value: Any, kind: type[Any], room: int) -> bool:
    """Whether *value* is of plain containers, text as keys, and atoms that JSON keeps, and not too deep or large."""
    stack = [(value, kind, 0)]
    while stack:
        value, kind, depth = stack.pop()
        if kind is dict:
            if not _TEXT.issuperset(map(type, value)):
                return False
            items = value.values()
        elif kind is list or kind is tuple:
            items = value
        else:
            return False
        room -= 2 * len(items) + 1
        if depth >= DEPTH_LIMIT or room < 0:
            return False
        kinds = set(map(type, items))
        if _FREE.issuperset(kinds):
            continue
        if not _PLAIN.issuperset(kinds):
            return False
        if int in kinds and not all(_LOW <= item <= _HIGH for item in items if type(item) is int):
            return False
        if len(kinds) > 1 or int not in kinds:
            stack += [
                (item, kind, depth + 1)
                for item in items
                for kind in (type(item),)
                if kind is dict or kind is list or kind is tuple
            ]
    return True


def _key(key: Any, spot: str) -> str:
    if type(key) is not str:
        raise DataError(f"{spot}: the key {shown(key)} is not text, and JSON has no others; convert it")
    text = text_of(key, spot)
    return _ESCAPE + text if text.startswith(_RESERVED) else text


def _read_marked(payload: bytes) -> Any:
    return _reader().decode(payload.decode())


@functools.cache
def _reader() -> JSONDecoder:
    return JSONDecoder(object_hook=_unmarked)


def _unmarked(read: dict[str, Any]) -> Any:
    """An object as it was before it was written; called for inner ones first."""
    if len(read) == 1:
        ((key, value),) = read.items()
        if key == _FAILED:
            return _failed_of(value)
        if key == _PICK:
            child, path, optional = value
            return Pick(child, tuple(path), optional)
        if key == _PICKS:
            is_tuple, children = value
            return Picks(tuple if is_tuple else list, children)
    if any(key.startswith(_ESCAPE) for key in read):
        return {key.removeprefix(_ESCAPE): value for key, value in read.items()}
    return read


def _fields(failed: Failed) -> dict[str, str]:
    return {
        "type": failed.type,
        "message": failed.message,
        "traceback": failed.traceback,
        "job": failed.job,
        "state": failed.state,
    }


def _failed_of(fields: Any) -> Failed:
    return Failed(fields["type"], fields["message"], fields["traceback"], fields["job"], fields["state"])
