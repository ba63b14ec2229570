"""One cluster for all tests of this folder, with workers that are processes of their own."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # else it is loaded, which takes long, also where no test of the folder is asked for
    from distributed import Client, LocalCluster

    from tests.executors.clusters.home_calls import Home


@pytest.fixture(scope="package")
def cluster() -> Iterator[LocalCluster]:
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=25, processes=True, dashboard_address=":0") as cluster:
        yield cluster


@pytest.fixture(scope="package")
def client(cluster: LocalCluster) -> Iterator[Client]:
    from distributed import Client

    with Client(cluster, set_as_default=False) as client:
        client.run(importlib.import_module, "flows.testing._conformance")  # takes seconds, and pytest with it
        yield client


@pytest.fixture(scope="package")
def home() -> Iterator[Home]:
    from tests.executors.clusters.home_calls import Home

    home = Home()
    yield home
    home.close()
