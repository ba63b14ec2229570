"""The way to a cluster: by the address of its scheduler, or through a client that somebody else has."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, Final

from executors.dask._cluster import Cluster, connected
from flows.errors import UnavailableError

if TYPE_CHECKING:
    from distributed.client import Client

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


def _joined(address: str) -> Cluster:
    """The cluster at *address*, through a client of its own."""
    client = connected(address, CONNECT_SECONDS)
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
            found = _clusters[client] = Cluster(client)
        return found


def forget_closed(by_client: dict[Client, Any]) -> None:
    """Clients that are closed are not asked for again."""
    for client in [client for client in by_client if client.status == "closed"]:
        del by_client[client]
