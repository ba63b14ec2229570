"""``redis://``: runs on a Redis server, worked off by a fleet of workers."""

from executors.redis._executor import RedisExecutor

__all__ = ["RedisExecutor"]
