"""What operators may ask of runs on a server; see `flows.operating.Operator`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from executors.redis._doctor import examine

if TYPE_CHECKING:
    from flows.operating import Check


class Operating:
    """The verbs of an operator, for an executor that has a store."""

    address: Any

    def doctor(self) -> Sequence[Check]:
        """Look at the server."""
        from flows.operating import Check

        return [Check(one.name, one.status, one.found, one.remedy) for one in examine(self.address)]
