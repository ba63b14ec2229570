"""Runs in a file, with no server: ``sqlite:///shop.db``."""

from executors.sqlite._executor import SqliteExecutor
from executors.sqlite._store import SqliteStore

__all__ = ["SqliteExecutor", "SqliteStore"]
