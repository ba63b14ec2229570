"""``dask://``: flows decided in this process, and computed by the workers of a Dask cluster."""

from executors.dask._executor import DaskExecutor

__all__ = ["DaskExecutor"]
