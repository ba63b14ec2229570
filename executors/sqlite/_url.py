"""The URL of a file: where it is, and what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from executors._stored import LIMITS
from flows._executors import masked
from flows._names import nearest, shown
from flows.errors import UnknownExecutorError

SLOTS: Final = 32
"""Handlers at once, where the URL does not say."""

MAX_SLOTS: Final = 10_000
MAX_JOBS: Final = 10_000_000

_NUMBERS: Final = {"concurrency": MAX_SLOTS, "processes": MAX_SLOTS, "max_jobs": MAX_JOBS}
_SYNCHRONOUS: Final = ("full", "normal")


@dataclass(frozen=True, slots=True)
class Place:
    """What a URL says.

    Attributes:
        path: The file.
        synchronous: ``full`` or ``normal``.
        concurrency: Handlers of a run at once.
        processes: How many of them in processes; None: as many as there are processors.
        max_jobs: Jobs that a flow may have.
    """

    path: Path
    synchronous: str = "full"
    concurrency: int = SLOTS
    processes: int | None = None
    max_jobs: int = LIMITS.jobs


def place_of(url: str) -> Place:
    """What *url* says: ``sqlite:///relative.db``, ``sqlite:////absolute.db``, with options after a ``?``.

    Raises:
        UnknownExecutorError: It names no file, or has an option that there is not.
    """
    parts, spot = urlsplit(url), shown(masked(url))
    path = unquote(parts.path)[1:]
    if parts.netloc or not path or parts.fragment or "\0" in path:
        raise UnknownExecutorError(
            f"{spot} names no file; it is sqlite:///shop.db for one in the current directory, sqlite:////var/shop.db "
            "for one by its whole path"
        )
    options: dict[str, int | str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name == "synchronous":
            if value not in _SYNCHRONOUS:
                raise UnknownExecutorError(
                    f"{spot}: synchronous={shown(value)} must be full (what was done survives a loss of power) or "
                    "normal (a crash of the process)"
                )
            options[name] = value
            continue
        high = _NUMBERS.get(name)
        if high is None:
            near = nearest(name, (*_NUMBERS, "synchronous"))
            remedy = f"did you mean {near[0]}?" if near else f"there are synchronous, {', '.join(_NUMBERS)}"
            raise UnknownExecutorError(f"{spot}: sqlite:// has no option {shown(name)}; {remedy}")
        number = int(value) if value.isdecimal() and len(value) < 20 else 0
        if not 1 <= number <= high:
            raise UnknownExecutorError(f"{spot}: {name}={shown(value)} must be a whole number from 1 to {high}")
        options[name] = number
    return Place(Path(path), **options)  # type: ignore[arg-type]
