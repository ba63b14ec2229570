"""Benchmarks: `flows` beside Dask's threaded scheduler and a hand-written asyncio loop, on the same graphs.

Run `python -m benchmarks --help` from the root of the repository.
"""
