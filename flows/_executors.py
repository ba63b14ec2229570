"""From a URL to an executor: ours by a table of schemes, strangers' by the entry-point group ``flows.executors``."""

from __future__ import annotations

import importlib
import os
import threading
from typing import TYPE_CHECKING, Any, Final, cast

from flows._names import shown
from flows.errors import MissingDependencyError, UnknownExecutorError

if TYPE_CHECKING:
    from collections.abc import Callable

    from flows.executor import ClusterClient, Executor

_REDIS: Final = "executors.redis:RedisExecutor"

SCHEMES: Final = {
    "memory": "executors.memory:MemoryExecutor",
    "sqlite": "executors.sqlite:SqliteExecutor",
    "redis": _REDIS,
    "rediss": _REDIS,
    "unix": _REDIS,
    "redis+cluster": _REDIS,
    "redis+sentinel": _REDIS,
    "dask": "executors.dask:executor_at",
}

_shared: dict[str, Executor] = {}
_lock = threading.Lock()


def executor_of(given: str | Executor | ClusterClient | None) -> Executor:
    """The executor that *given* stands for; without it ``FLOWS_EXECUTOR``, then ``memory://``.

    Executors are shared by URL, but for those marked ``private=1``.

    Raises:
        UnknownExecutorError: The URL or its scheme means nothing here.
        MissingDependencyError: The executor needs a package that is not installed.
    """
    if given is None:
        given = os.environ.get("FLOWS_EXECUTOR") or "memory://"
    if not isinstance(given, str):
        if hasattr(type(given), "submit") and hasattr(type(given), "work"):
            return cast("Executor", given)
        if type(given).__module__.partition(".")[0] == "distributed":
            return cast("Executor", _factory("dask")(given))
        raise UnknownExecutorError(f"executor= takes a URL or an executor, not {shown(given)}")
    found = _shared.get(given)
    if found is not None:
        return found
    if "private=1" in given:
        return _made(given)
    with _lock:
        found = _shared.get(given)
        if found is None:
            found = _shared[given] = _made(given)
        return found


def check_there(url: str) -> None:
    """Refuse a URL of a store that comes to be with its first use; for those who look at what is there.

    Raises:
        UnavailableError: There is none yet; nothing was made.
    """
    check = _check_of(url)
    if check is not None:
        check(url)


def made_by_use(url: str) -> bool:
    """Whether the store of *url* comes to be with its first use, as a file does; a server is there before."""
    return _check_of(url) is not None


def _check_of(url: str) -> Callable[[str], None] | None:
    scheme, colon, _ = url.partition(":")
    return getattr(_factory(scheme.lower()), "check_there", None) if colon and scheme else None


def _made(url: str) -> Executor:
    scheme, colon, rest = url.partition(":")
    if not colon or not scheme:
        raise UnknownExecutorError(
            f"{shown(masked(url))} is no executor URL; it begins with a scheme, as in memory://, sqlite:///shop.db for "
            "a file, redis://host for a server"
        )
    factory = _factory(scheme.lower())
    if rest != "//":
        from urllib.parse import urlsplit  # takes longer to load than most flows to run

        try:
            urlsplit(url)
        except ValueError as error:
            why = "" if "@" in url else f": {shown(str(error))}"  # it may quote what stands before the @
            raise UnknownExecutorError(f"{shown(masked(url))} is no URL{why}") from None
    return cast("Executor", factory(url))


def _factory(scheme: str) -> Any:
    place = SCHEMES.get(scheme)
    if place is not None:
        module, _, name = place.partition(":")
        try:
            return getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            extra = module.removeprefix("executors.").partition(".")[0]
            raise MissingDependencyError(
                f"executor {scheme}:// needs the package {error.name!r}: pip install 'flowproducer[{extra}]'"
            ) from error
    from importlib.metadata import entry_points

    found = entry_points(group="flows.executors", name=scheme)
    for entry in found:
        return entry.load()
    known = sorted({*SCHEMES, *(entry.name for entry in entry_points(group="flows.executors"))})
    raise UnknownExecutorError(
        f"no executor for the scheme {shown(scheme)}; there are {', '.join(f'{one}://' for one in known)}, and those "
        "that installed packages offer under the entry-point group 'flows.executors'"
    )


def masked(url: str) -> str:
    """A URL without its password, fit for messages and logs."""
    head, at, tail = url.rpartition("@")
    scheme, slashes, credentials = head.partition("://") if "://" in head else ("", "", head)
    user, colon, _ = credentials.partition(":")
    return f"{scheme}{slashes}{user}{':***' if colon else ''}@{tail}" if at else url
