"""Tenacity's rules in the verdict over a failed attempt: what they see, and what becomes of odd ones."""

import asyncio
import re
from typing import Any

import pytest
import tenacity

from tests.flows.test_retry import controller, verdict


class Old(tenacity.Retrying):
    """As before there was a switch."""

    @property
    def enabled(self) -> bool:
        raise AttributeError("enabled")

    @enabled.setter
    def enabled(self, value: bool) -> None:
        pass


def test_a_controller_without_a_switch_is_on() -> None:
    assert verdict(controller(Old, stop=tenacity.stop_after_attempt(3)), ValueError()).kind == "retry"


def test_a_rule_for_the_wait_sees_how_long_the_job_has_been_tried() -> None:
    def wait(state: tenacity.RetryCallState) -> float:
        return state.seconds_since_start or 0.0

    settings = controller(wait=wait, stop=tenacity.stop_after_attempt(3))
    assert verdict(settings, ValueError(), elapsed=7.0).after == pytest.approx(7.0, abs=0.5)


def test_what_is_wrong_with_a_wait_is_said_of_the_wait() -> None:
    settings = controller(wait=lambda state: "soon", stop=tenacity.stop_after_attempt(3))
    assert re.search(r"\bthe wait\b", verdict(settings, ValueError()).note)


def test_a_rule_that_waits_is_closed() -> None:
    closed = []

    async def wait(state: tenacity.RetryCallState) -> float:
        try:
            await asyncio.sleep(0)
        finally:
            closed.append(state.attempt_number)
        return 1.0

    kept = []

    def keeping(state: tenacity.RetryCallState) -> Any:
        kept.append(wait(state))
        return kept[-1]

    settings = controller(wait=keeping, stop=tenacity.stop_after_attempt(3))
    assert verdict(settings, ValueError(), attempt=2).after == 300.0
    assert closed == [2]
