"""The way to a cluster: by the address of its scheduler, or through a client that somebody else has."""

from __future__ import annotations

import contextlib
import platform
import threading
from typing import TYPE_CHECKING, Any, Final, NoReturn

from distributed.client import Client

import flows
from executors.dask._cluster import Cluster
from flows.errors import ExecutorError, UnavailableError, UnsupportedError

if TYPE_CHECKING:
    from flows._plan import Plan
    from flows.executor import WorkerOptions

CONNECT_SECONDS: Final = 5.0
CLOSE_SECONDS: Final = 5.0

_lock = threading.Lock()
_clusters: dict[Client, Cluster] = {}


class Way:
    """Finds the cluster, again if it was lost.

    Args:
        where: An address, for a client of its own; or a client.

    Raises:
        UnavailableError: The scheduler does not answer.
        ExecutorError: The cluster has other versions of this library or of Python.
    """

    def __init__(self, where: str | Client) -> None:
        self._address = where if isinstance(where, str) else None
        self._found = _joined(where) if isinstance(where, str) else _cluster_of(where)

    def cluster(self) -> Cluster:
        """The cluster.

        Raises:
            UnavailableError: Its scheduler is gone, and does not answer either to a new client.
        """
        if self._found.away:
            if self._address is None:
                raise UnavailableError("the client of the Dask cluster is not connected any more; make a new one")
            self.close()
            self._found = _joined(self._address)
        return self._found

    def close(self) -> None:
        """Close the client, if it was made here."""
        if self._address is not None:
            with contextlib.suppress(TimeoutError, OSError):  # of a scheduler that is gone and hears of no farewell
                self._found.client.close(timeout=CLOSE_SECONDS)


class OnCluster:
    """What executors on a cluster have in common, wherever their runs are kept."""

    _way: Way

    def admit(self, plan: Plan[Any]) -> Cluster:
        """The cluster, if it can keep what the flow asks for.

        Raises:
            UnsupportedError: A queue of the flow has limits.
            UnavailableError: The scheduler is gone, and does not answer either to a new client.
        """
        limited = [queue for queue, limits in plan.limits.items() if limits != (None, None)]
        if limited:
            raise UnsupportedError(
                f"queue {limited[0]!r} has limits, which a Dask cluster cannot keep over all its clients: leave "
                "concurrency and rate out, or give its workers a resource of the queue's name"
            )
        return self._way.cluster()

    def serve(self, options: WorkerOptions) -> NoReturn:
        """There are no workers but those of the cluster.

        Raises:
            UnsupportedError: Always.
        """
        raise UnsupportedError("a Dask cluster has workers of its own: start them with `dask worker`")


def _joined(address: str) -> Cluster:
    """The cluster at *address*, through a client of its own."""
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False, name="flows")
    except (OSError, TimeoutError) as error:
        raise UnavailableError(
            f"no Dask scheduler answers at {address}: {error}; start one with `dask scheduler`, or check the address"
        ) from error
    try:
        return _cluster_of(client)
    except BaseException:
        client.close()
        raise


def _cluster_of(client: Client) -> Cluster:
    """The cluster behind *client*: asked once, and heard of by one listener."""
    with _lock:
        forget_closed(_clusters)
        found = _clusters.get(client)
        if found is None:
            _check_versions(client)
            found = _clusters[client] = Cluster(client)
        return found


def forget_closed(by_client: dict[Client, Any]) -> None:
    """Clients that are closed are not asked for again."""
    for client in [client for client in by_client if client.status == "closed"]:
        del by_client[client]


def lost_scheduler(run_id: str, *, kept: bool) -> UnavailableError:
    """Why a run cannot go on at the moment, or at all."""
    return UnavailableError(
        "the scheduler of the Dask cluster was lost"
        + (
            ": when there is one again, the run goes on from what had completed"
            if kept
            else f", and with it the results of run {run_id} that were there: it cannot go on. With "
            "?journal=sqlite:///runs.db what has completed is kept, and flows.resume goes on from there"
        )
    )


_Installed = tuple[str | None, tuple[str, ...]]
"""The version of this library, if any, and the first two parts of Python's."""


def _check_versions(client: Client) -> None:
    """See that the scheduler and all workers have this library, in this version, and the same Python."""

    def look() -> Any:  # inside, so that it travels by value: where this library is missing, it must run all the same
        import platform

        try:
            import flows
        except ImportError:
            return None, platform.python_version_tuple()[:2]
        return flows.__version__, platform.python_version_tuple()[:2]

    here: _Installed = flows.__version__, platform.python_version_tuple()[:2]
    found: dict[str, _Installed] = {"the scheduler": client.run_on_scheduler(look)}
    found |= {f"worker {address}": one for address, one in client.run(look).items()}
    wrong = {place: one for place, one in found.items() if (one[0], tuple(one[1])) != here}
    if wrong:
        spelled = "; ".join(f"{place} has {_spelled(one)}" for place, one in list(wrong.items())[:5])
        raise ExecutorError(
            f"the Dask cluster does not fit: here is {_spelled(here)}, but {spelled}. Install the same versions of "
            "flowproducer and Python on all sides"
        )


def _spelled(one: _Installed) -> str:
    version, python = one
    return f"{'no flows' if version is None else f'flows {version}'} on Python {'.'.join(python)}"
