"""Why a job ended that ran nothing itself: what is said of it is derived from the job that went wrong first."""

from __future__ import annotations

from flows._state import FAILED, STATE_NAMES
from flows.errors import Failed


def cancelled(job: str, reason: str) -> Failed:
    """What is said of a cancelled job, whatever its handler then raised."""
    return Failed("RunCancelledError", reason or "the run was cancelled", "", job, "cancelled")


def dependency_failed(job: str, first: Failed) -> Failed:
    """What is said of a job that failed because of another: that one's failure, in a few words."""
    text = f"dependency {first.job!r} failed: {first.type}: {first.message}"
    return Failed("DependencyFailedError", text, "", job, "failed")


def skipped_after(job: str, first: str, first_state: int) -> Failed:
    """What is said of a job that was skipped because of another.

    Args:
        job: Its id.
        first: The id of the other.
        first_state: The code of the state in which that one ended.
    """
    what = "failed" if first_state == FAILED else f"was {STATE_NAMES[first_state]}"
    return Failed("Skip", f"because of {first}, which {what}", "", job, "skipped")


def not_ended(job: str) -> Failed:
    """What a job receives of a dependency that was pending when another released it."""
    text = "had not ended when a dependency with on_failure='continue' released the job"
    return Failed("PendingError", text, "", job, "cancelled")
