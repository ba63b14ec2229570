"""The contest: flows on each executor beside its peers, one definition of the workloads, one protocol for all.

Each contender runs in a process and an environment of its own. `python -m benchmarks.contest --help` lists the options;
what comes out is a JSON file and a page.
"""
