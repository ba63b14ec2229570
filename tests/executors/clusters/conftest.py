"""One cluster for all tests of this folder, with workers that are processes of their own."""

import importlib
from collections.abc import Iterator

import pytest
from distributed import Client, LocalCluster

from tests.executors.clusters.home_calls import Home


@pytest.fixture(scope="package")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=2, threads_per_worker=25, processes=True, dashboard_address=":0") as cluster:
        yield cluster


@pytest.fixture(scope="package")
def client(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster, set_as_default=False) as client:
        client.run(importlib.import_module, "flows.testing._conformance")  # takes seconds, and pytest with it
        yield client


@pytest.fixture(scope="package")
def home() -> Iterator[Home]:
    home = Home()
    yield home
    home.close()
