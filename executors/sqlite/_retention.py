"""Keys of runs, and how long runs stay: whoever comes by retires some of those whose time is over. Within a step."""

from __future__ import annotations

from typing import Final, NamedTuple

from executors.sqlite._keys import chunk_row, row_of
from executors.sqlite._limits import LimitVerbs

STEP: Final = 16
"""Runs that a call retires at most, so that none is long however many are due."""

JOBS: Final = 20_000
"""Jobs after which it stops, whatever is left."""

PAGES: Final = 512
"""Pages of the file that are then given back to the system at most."""


class Holder(NamedTuple):
    """Who holds a key.

    Attributes:
        run_id: The run's id.
        number: Its number; None where it was retired.
        fingerprint: Its flow's.
        free_at: When the key will be free, in microseconds; None while the run is open.
    """

    run_id: str
    number: int | None
    fingerprint: str
    free_at: int | None


class Retention(LimitVerbs):
    """Which runs are kept, and for whom."""

    def holder(self, key: str, now: int) -> Holder | None:
        """Who holds a key; None where it is free. Within a step."""
        row = self.database.one("key_get", key)
        if row is None:
            return None
        holder = Holder(*row)
        if holder.number is not None and self._retire_if_due(holder.number, now):
            holder = holder._replace(number=None)
        if holder.free_at is not None and holder.free_at <= now:
            self.database.do("key_free", key)
            return None
        return holder

    def find(self, run_id: str | None, key: str | None) -> tuple[int | None, Holder | None, int]:
        """The run of an id or key that is kept: its number, who holds the key, and the instant."""
        with self.transaction() as now:
            self._look_after(now)
            if key is not None:
                holder = self.holder(key, now)
                return (None if holder is None else holder.number), holder, now
            row = self.database.one("run_number", run_id)
            if row is None or self._retire_if_due(row[0], now):
                return None, None, now
            return row[0], None, now

    def prune(self, limit: int = STEP) -> int:
        """Retire runs whose time is over, and give the room that they took back to the system.

        Returns:
            How many were retired.
        """
        with self.transaction() as now:
            count = self._look_after(now, limit)
        self.database.tidy(PAGES)
        return count

    def _look_after(self, now: int, limit: int = STEP) -> int:
        """Retire a few of the runs whose time is over, and free a few keys."""
        count = jobs = 0
        for number, size in self.database.all("run_due", now, limit):
            self._retire(number)
            count += 1
            jobs += size
            if jobs > JOBS:
                break
        self.database.do("key_free_due", now, limit)
        self.database.do("shared_free_due", now, limit)
        return count

    def _retire_if_due(self, number: int, now: int) -> bool:
        row = self.database.one("run_retire_at", number)
        if row is None:
            return True
        if row[0] is not None and row[0] <= now:
            self._retire(number)
            return True
        return False

    def _thin_out(self, name: str, count: int) -> None:
        """Retire the oldest ended runs of a flow beyond *count*, a few at a time."""
        for (number,) in self.database.all("run_crowd", name, count, STEP):
            self._retire(number)

    def _retire(self, number: int) -> None:
        """A run goes, with all that is known of it, but for its key."""
        database = self.database
        first, last = row_of(number, 0), row_of(number + 1, 0)
        for table in ("result", "journal", "attempt", "item", "link", "log", "progress", "holding", "dead"):
            database.do(f"retire_{table}", first, last)
        for table in ("plan", "chunk"):
            database.do(f"retire_{table}", chunk_row(number, 0), chunk_row(number + 1, 0))
        for table in ("segment", "lane", "line", "block", "header", "key", "run"):
            database.do(f"retire_{table}", number)
        self._runs.pop(number, None)
        self._touched.pop(number, None)
        self._known.pop(number, None)
        self._lanes.drop(number)
        self._retired = True

    _retired = False

    def _tidy(self) -> None:
        """Give back what retired runs have left; not within a step."""
        if self._retired:
            self._retired = False
            self.database.tidy(PAGES)
