"""What a doctor finds at a file: is it whole, does it keep what was committed, and how much room does it take?"""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from executors.sqlite._database import Database
from executors.sqlite._file import VERSION
from flows.errors import ExecutorError
from flows.operating import Check

OLDEST: Final = (3, 40, 0)
"""The oldest release of SQLite that is tested: Debian 12 has it."""

FREE_PART: Final = 0.5
SMALL_BYTES: Final = 64 * 2**20
"""Below this size free pages and a long log mean nothing."""


def examine(database: Database) -> list[Check]:
    """Look at a file. What is wrong is in the checks; nothing is raised for it."""
    checks: list[Check] = []
    try:
        facts = database.pragmas(
            "quick_check(10)",
            "journal_mode",
            "synchronous",
            "page_size",
            "page_count",
            "freelist_count",
            "user_version",
        )
    except ExecutorError as error:
        return [Check("reachable", "fail", str(error), "see to the file, or bring back a copy of it")]
    checks.append(Check("reachable", "ok", str(database.path)))
    for part in (_integrity, _version, _durability, _size, _mode):
        checks += part(database.path, facts)
    return checks


def _integrity(path: Path, facts: dict[str, Any]) -> Iterator[Check]:
    wrong = [line for (line,) in facts["quick_check(10)"] if line != "ok"]
    if wrong:
        yield Check("integrity", "fail", "; ".join(wrong), "bring back a copy, or rescue what is left with .recover")
    else:
        yield Check("integrity", "ok", "SQLite finds the file whole")


def _version(path: Path, facts: dict[str, Any]) -> Iterator[Check]:
    found = f"SQLite {sqlite3.sqlite_version}, schema {_one(facts, 'user_version')} of {VERSION}"
    if sqlite3.sqlite_version_info < OLDEST:
        yield Check(
            "version", "warn", found, f"use SQLite {'.'.join(map(str, OLDEST))} or newer; older ones are not tested"
        )
    else:
        yield Check("version", "ok", found)


def _durability(path: Path, facts: dict[str, Any]) -> Iterator[Check]:
    mode, level = _one(facts, "journal_mode"), _one(facts, "synchronous")
    if mode != "wal":
        yield Check("journal", "fail", f"journal mode {mode}", "another program has changed it; set journal_mode = WAL")
    else:
        yield Check("journal", "ok", "a write-ahead log")
    if level < 2:
        yield Check(
            "persistence",
            "warn",
            "synchronous=normal: what was committed survives a crash, but not a loss of power",
            "leave ?synchronous=normal out where a job that is done must never be done again",
        )
    else:
        yield Check("persistence", "ok", "synchronous=full: what was committed survives a loss of power")


def _size(path: Path, facts: dict[str, Any]) -> Iterator[Check]:
    page, pages, free = (_one(facts, name) for name in ("page_size", "page_count", "freelist_count"))
    size, log = page * pages, _length(path.with_name(path.name + "-wal"))
    found = f"{size / 2**20:,.1f} MiB, {free * page / 2**20:,.1f} of them free; the log {log / 2**20:,.1f} MiB"
    if size > SMALL_BYTES and free > FREE_PART * pages:
        yield Check("size", "warn", found, "flows runs prune gives free pages back to the system, some at each call")
    elif log > max(SMALL_BYTES, size):
        yield Check("size", "warn", found, "somebody reads the file for long, so that the log cannot be written back")
    else:
        yield Check("size", "ok", found)


def _mode(path: Path, facts: dict[str, Any]) -> Iterator[Check]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Check("rights", "warn", f"file mode {mode:o}: others than its owner may use it", f"chmod 600 {path}")
    else:
        yield Check("rights", "ok", f"file mode {mode:o}")


def _one(facts: dict[str, Any], name: str) -> Any:
    return facts[name][0][0]


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
