"""Limits of queues: how many of their jobs may be active or start, and whether they are paused. Within a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from executors.sqlite._run import OpenRun
from executors.sqlite._settling import Settling
from flows._verbs import Want


class LimitVerbs(Settling):
    """What keeps jobs back."""

    def _publish(self, stated: Mapping[str, Any], now: int) -> None:
        """Put limits into force, or lift them."""

    def publish(self, stated: Mapping[str, Any]) -> None:
        """Put limits of queues into force, or lift them."""
        with self.transaction() as now:
            self._publish(stated, now)

    def held_back(self, number: int, job: int, queue: str) -> str | None:
        """What keeps a waiting job back other than its turn, in words."""
        return None

    def _opens_at(self, want: Want, run: OpenRun | None, now: int) -> float | None:
        """When a limit may let jobs be claimed that it keeps back now."""
        return None
