"""Runs as stores keep them against runs in memory: the same ends, values, errors, whatever the shape of the flow."""

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flows
from tests.executors import scripted
from tests.executors.scripted import random_dag, random_scripts
from tests.executors.twins import Twins
from tests.flows.naive_lists import flow_of, listed, lone, scopes

MANY = settings(max_examples=settings().max_examples * 6 // 5, suppress_health_check=[HealthCheck.too_slow])


def _luck(taken: Any) -> Any:
    """Ends as its job's id says; tells what it has received."""
    job = flows.current().job_id
    drawn = random.Random(f"{job} {LUCK['seed']}")
    if drawn.randrange(100) < LUCK["harm"]:
        raise drawn.choice([ValueError, flows.Skip])("as luck will have it")
    sizes = [drawn.randrange(3) for _ in range(drawn.randrange(4))]
    return [[f"{job}/{n}" * drawn.randrange(2) for n in range(size)] for size in sizes] + [_told(taken)]


def _told(taken: Any) -> Any:
    if isinstance(taken, flows.Failed):
        return [taken.type, taken.job, taken.state]
    return [_told(item) for item in taken] if isinstance(taken, list | tuple) else str(taken)


LUCK = {"seed": 0, "harm": 0}


@pytest.fixture(autouse=True)
def _lucky(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listed, "fn", lambda values: _luck(values))
    monkeypatch.setattr(lone, "fn", lambda value: _luck(value))


@pytest.mark.slow
@MANY
@given(scopes(), st.integers(0, 1000), st.sampled_from([0, 15, 40]))
def test_flows_with_lists_and_conditions_end_as_in_memory(steps: Any, seed: int, harm: int) -> None:
    LUCK.update(seed=seed, harm=harm)
    twins = Twins(flow_of(steps), seed)
    twins.play()
    twins.compare()


@MANY
@given(st.integers(0, 2**32))
def test_policies_retries_and_children_end_as_in_memory(seed: int) -> None:
    rng = random.Random(seed)
    dag = random_dag(rng)
    scripts = [scripted.Script(one.end, one.failures) for one in random_scripts(rng, dag.size)]
    twins = Twins(scripted.flow_of(dag, scripts), seed)
    twins.play()
    twins.compare()
