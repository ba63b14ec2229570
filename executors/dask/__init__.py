"""``dask://``: flows decided in this process, and computed by the workers of a Dask cluster."""

from executors.dask._executor import DaskExecutor, executor_at

__all__ = ["DaskExecutor", "executor_at"]
