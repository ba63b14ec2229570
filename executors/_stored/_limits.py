"""How large things may be that are stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from flows.errors import DefinitionError

KIB: Final = 1024
MIB: Final = 1024 * KIB

HARD_BYTES: Final = 2 * MIB
"""No store takes data or a result larger than this, whatever it is told."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a store takes.

    Attributes:
        data: Bytes of JSON that the data of a job may have.
        result: Bytes of JSON that the result of a job, or an item of a list, may have.
        inputs: Bytes of JSON that all results which a job takes may have together.
        jobs: Jobs that a flow may have when it is submitted.

    Raises:
        DefinitionError: `data` or `result` is above 2 MiB.
    """

    data: int = 256 * KIB
    result: int = 256 * KIB
    inputs: int = 64 * MIB
    jobs: int = 100_000

    def __post_init__(self) -> None:
        for name in ("data", "result"):
            if not 0 < getattr(self, name) <= HARD_BYTES:
                raise DefinitionError(f"the limit of {name} must be from 1 byte to {sized(HARD_BYTES)}")


LIMITS: Final = Limits()


def sized(count: int) -> str:
    """So many bytes, in words."""
    if count >= MIB:
        return f"{count / MIB:.4g} MiB"
    return f"{count / KIB:.4g} KiB" if count >= KIB else f"{count} bytes"
