"""Names that must never change: keys, fingerprints and digests as published in vectors.json.

A change to one of these is a breaking change for every stored key: the old rows must keep their form.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import flows
from flows import Job
from flows._idempotency import job_key
from tests.flows.test_shared_results import digest
from tests.flows.vector_flows import FLOWS

ROOT = Path(__file__).resolve().parent.parent.parent
VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text("utf-8"))


class Named:
    """A run by its names."""

    def __init__(self, run_id: str, key: str | None, job_id: str) -> None:
        self.id, self.key = run_id, key
        self.plan = flows.plan(Job("vector-any", id=job_id))


@pytest.mark.parametrize("vector", VECTORS["job_keys"], ids=lambda vector: vector["job_key"])
def test_keys_of_jobs(vector: dict[str, Any]) -> None:
    assert job_key(Named(vector["run_id"], vector["key"], vector["job_id"]), 0) == vector["job_key"]


@pytest.mark.parametrize("name", FLOWS)
def test_fingerprints(name: str) -> None:
    assert flows.plan(FLOWS[name]()).fingerprint == VECTORS["fingerprints"][name]


def test_each_fingerprint_is_of_a_flow() -> None:
    assert set(VECTORS["fingerprints"]) == set(FLOWS)


@pytest.mark.parametrize("vector", VECTORS["digests"], ids=lambda vector: vector["task"])
def test_digests_of_jobs_that_share_results(vector: dict[str, Any]) -> None:
    flows.task(lambda **data: None, name=vector["task"])
    assert digest(Job(vector["task"], data=vector["data"])) == vector["digest"]


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_fingerprints_are_those_of_every_process(seed: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.flows.vector_flows"],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert json.loads(done.stdout) == VECTORS["fingerprints"]


def test_the_order_in_which_data_was_put_together_does_not_count() -> None:
    items = [(f"key {number}", {"a": number, "b": [number], "c": None}) for number in range(30)]
    prints = set()
    for seed in range(10):
        random.Random(seed).shuffle(items)
        data = {key: dict(sorted(inner.items(), reverse=seed % 2 == 0)) for key, inner in items}
        prints.add(flows.plan(Job("vector-any", data={"of": data})).fingerprint)
    assert len(prints) == 1
