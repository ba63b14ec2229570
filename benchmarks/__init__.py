"""Benchmarks, run from the root of the repository.

`python -m benchmarks.contest` is flows beside its peers, each in its own environment; it writes docs/benchmarks.md.
`python -m benchmarks` judges our own targets, beside what can take turns with us in one process.
"""
