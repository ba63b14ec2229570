"""EffectLedger: what was done to the world outside, once or twice."""

import threading

import pytest

import flows
from flows import DefinitionError
from flows.testing import EffectLedger, simulate


def test_an_idempotent_world_does_a_thing_once_under_each_key() -> None:
    ledger = EffectLedger(idempotent=True)
    assert ledger.record("charge", key="a")
    assert not ledger.record("charge", key="a")
    assert ledger.record("charge", key="b")
    assert ledger.record("refund", key="a")
    assert [effect.applied for effect in ledger.effects] == [True, False, True, True]
    assert ledger.record("charge")
    assert ledger.record("charge")
    ledger.clear()
    assert ledger.effects == []


def test_any_other_does_what_it_is_told() -> None:
    ledger = EffectLedger()
    assert ledger.record("charge", key="a")
    assert ledger.record("charge", key="a")
    assert repr(ledger) == "<EffectLedger: 2 effects done, 0 recognised by their keys>"


def test_it_notes_whose_effect_it_was_in_a_simulation_and_in_a_run() -> None:
    ledger = EffectLedger()
    task = flows.task(ledger.effect("charge", returns=7), name="ledger-task")
    assert simulate(task()).run.value == 7
    run = flows.execute(task(), executor="memory://?private=1")
    assert run.value == 7
    first, second = ledger.effects
    assert (first.job, first.attempt, first.key) == ("ledger-task", 1, "simulated/ledger-task")
    assert (second.job, second.attempt, second.key) == ("ledger-task", 1, f"{run.id}/ledger-task")


def test_a_handler_made_for_an_effect_can_withhold_the_key() -> None:
    ledger = EffectLedger(idempotent=True)
    simulate(flows.task(ledger.effect("charge", keyed=False), name="ledger-keyless")())
    assert ledger.effects[0].key is None


def test_threads_may_share_it() -> None:
    ledger = EffectLedger(idempotent=True)
    threads = [threading.Thread(target=ledger.record, args=("charge", "k")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(effect.applied for effect in ledger.effects) == 1


def test_idempotent_is_yes_or_no() -> None:
    with pytest.raises(DefinitionError):
        EffectLedger(idempotent="yes")  # type: ignore[arg-type]
