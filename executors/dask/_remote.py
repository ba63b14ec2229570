"""Results that stay in the memory of the cluster, and how calls that take them are written down."""

from __future__ import annotations

import asyncio
import io
import pickle
from concurrent.futures import wait
from typing import TYPE_CHECKING, Any, Final

import cloudpickle
from distributed.protocol.serialize import serialize

from flows._handlers import BadResultError
from flows._reference import Path, follow
from flows.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from distributed import Client, Future


LOOK_SECONDS: Final = 0.1


class Remote:
    """A result, or a part of one, that is on the cluster. Parts are taken as of the result itself.

    Args:
        future: The task that made it.
        place: Which of the results of that task it is; None: that is all of them.
        path: Which part.

    What it has of its own begins with an underscore, which no path into a result does.
    """

    __slots__ = ("_future", "_home", "_path", "_place")

    def __init__(self, future: Future[Any], place: int | None, path: Path = ()) -> None:
        self._future = future
        self._place = place
        self._path = path
        self._home: list[Any] = []
        """The value itself, once it has been fetched."""

    def __getitem__(self, step: int | str) -> Remote:
        return Remote(self._future, self._place, (*self._path, step))

    def __getattr__(self, step: str) -> Remote:
        if step.startswith("_"):
            raise AttributeError(step)
        return self[step]


def remotes(values: Iterable[Any]) -> list[Remote]:
    """The results on the cluster among *values*, those in lists included; lists of lists come from `flows.each`."""
    found: list[Remote] = []
    stack = list(values)
    while stack:
        value = stack.pop()
        if type(value) is Remote:
            found.append(value)
        elif type(value) is list:
            stack.extend(value)
    return found


def fetched(client: Client, value: Any) -> Any:
    """*value* with what is on the cluster brought home, once.

    Raises:
        Exception: What keeps it from coming, in the words of the cluster.
    """
    missing = [one for one in remotes((value,)) if not one._home]
    if missing:
        for one, result in zip(missing, _gathered(client, [one._future for one in missing]), strict=True):
            one._home.append(follow(result if one._place is None else result[one._place], one._path))
    return _at_home(value)


def _gathered(client: Client, futures: list[Future[Any]]) -> list[Any]:
    """The results; a client whose scheduler goes meanwhile would wait for them for ever."""
    loop: Any = client.loop
    asked = asyncio.run_coroutine_threadsafe(client.gather(futures, asynchronous=True), loop.asyncio_loop)
    while not asked.done():
        wait((asked,), LOOK_SECONDS)
        if client.status != "running" and not asked.done():
            asked.cancel()
            raise UnavailableError("the scheduler of the Dask cluster was lost")
    found: list[Any] = asked.result()
    return found


def _at_home(value: Any) -> Any:
    if type(value) is Remote:
        return value._home[0]
    return [_at_home(one) for one in value] if type(value) is list and remotes(value) else value


class _Writer(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles a call; of results on the cluster it notes which, to be put in their places there."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.taken: dict[Any, tuple[int, Remote]] = {}

    def persistent_id(self, value: Any) -> Any:
        if type(value) is not Remote:
            return None
        known = self.taken.setdefault((value._future.key, value._place), (len(self.taken), value))
        return known[0], value._path


class _Reader(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, results: Sequence[Any]) -> None:
        super().__init__(file)
        self._results = results

    def persistent_load(self, place: Any) -> Any:
        index, path = place
        return follow(self._results[index], path)


def written(call: object) -> tuple[bytes, list[Remote]]:
    """A pickle of *call*, and the results that it takes, as `read` wants them; which parts the pickle says."""
    file = io.BytesIO()
    writer = _Writer(file)
    writer.dump(call)
    return file.getvalue(), [remote for _, remote in writer.taken.values()]


def read(data: bytes, results: Sequence[Any]) -> Any:
    """What was written, with results in their places.

    Raises:
        LookupError: There is no such part of a result.
    """
    return _Reader(io.BytesIO(data), results).load()


class _Nowhere(io.RawIOBase):
    """A file that keeps nothing."""

    def write(self, data: Any) -> int:
        return len(data)


def check_travels(value: Any) -> None:
    """See that a result can go from worker to worker: where one cannot, Dask would try for ever.

    Nothing is copied, and the buffers of arrays and data frames are not even looked at.

    Raises:
        BadResultError: It cannot.
    """
    try:
        cloudpickle.Pickler(_Nowhere(), pickle.HIGHEST_PROTOCOL, buffer_callback=_left_out).dump(value)
    except Exception as error:
        try:
            serialize(value, on_error="raise")  # by a way of Dask's own
        except Exception:
            raise BadResultError(
                f"the result, of type {type(value).__name__}, cannot leave its worker: {type(error).__name__}: "
                f"{error}; return plain data. What the handler did stands, so it is not tried again."
            ) from error


def _left_out(buffer: object) -> None:
    """Have a buffer travel beside the pickle."""
