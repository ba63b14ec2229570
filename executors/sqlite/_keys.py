"""Row ids: one integer for a job of a run, or for a chunk of its jobs, so that the rows of a run are a range."""

from __future__ import annotations

from typing import Final

JOB_BITS: Final = 27
CHUNK_BITS: Final = 20

_JOB: Final = (1 << JOB_BITS) - 1


def row_of(run: int, job: int) -> int:
    """The row id of a job; also of an entry of the run's journal."""
    return run << JOB_BITS | job


def job_of(row: int) -> tuple[int, int]:
    """Run and job of a row id."""
    return row >> JOB_BITS, row & _JOB


def chunk_row(run: int, chunk: int) -> int:
    """The row id of a chunk."""
    return run << CHUNK_BITS | chunk
