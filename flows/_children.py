"""What a handler receives of its dependencies besides arguments: `Children`, and the marker for injected parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeVar, overload

from flows.errors import Failed

T = TypeVar("T")

INJECTED: Any = type("Injected", (), {"__repr__": lambda self: "INJECTED", "__slots__": ()})()
"""Default of parameters that the library fills in (`flows.Children`, `flows.Context`), so that typed calls leave them
out.
"""


class Children:
    """Results of a job's direct, not order-only, dependencies, read like a dict by job id in declared order.

    Attributes:
        values: Job id -> result, for those that completed. Read-only.
        failures: Job id -> `Failed`, for those that did not and whose policy lets the job run all the same. Read-only.
    """

    __slots__ = ("failures", "values")

    def __init__(self, values: Mapping[str, Any], failures: Mapping[str, Failed]) -> None:
        self.values: Mapping[str, Any] = MappingProxyType(dict(values))
        self.failures: Mapping[str, Failed] = MappingProxyType(dict(failures))

    def __getitem__(self, job_id: str) -> Any:
        """The result of *job_id*.

        Raises:
            KeyError: It has none; the message says why.
        """
        try:
            return self.values[job_id]
        except KeyError:
            raise KeyError(self._why_not(job_id)) from None

    @overload
    def get(self, job_id: str) -> Any | None: ...
    @overload
    def get(self, job_id: str, default: T) -> Any | T: ...
    def get(self, job_id: str, default: Any = None) -> Any:
        """The result of *job_id*, or *default* if it has none."""
        return self.values.get(job_id, default)

    def keys(self) -> list[str]:
        """Ids of the jobs that have a result, in declared order."""
        return list(self.values)

    def items(self) -> list[tuple[str, Any]]:
        """(job id, result) pairs in declared order."""
        return list(self.values.items())

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def __len__(self) -> int:
        return len(self.values)

    def __contains__(self, job_id: object) -> bool:
        return job_id in self.values

    def _why_not(self, job_id: str) -> str:
        failed = self.failures.get(job_id)
        if failed is not None:
            return f"{job_id!r} has no result: {failed}"
        return (
            f"{job_id!r} is no dependency with a result here; there are {', '.join(map(repr, self.values)) or 'none'}"
        )

    def __reduce__(self) -> tuple[type[Children], tuple[dict[str, Any], dict[str, Failed]]]:
        return Children, (dict(self.values), dict(self.failures))

    def __repr__(self) -> str:
        return f"Children(values={dict(self.values)!r}, failures={dict(self.failures)!r})"
