"""``memory://``: runs in this process; the default executor, and the model that other stores are tested against."""

from executors.memory._executor import MemoryExecutor
from executors.memory._run import MemoryRun
from executors.memory._store import MemoryStore

__all__ = ["MemoryExecutor", "MemoryRun", "MemoryStore"]
