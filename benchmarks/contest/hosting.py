"""A peer's own process: `python -m benchmarks.contest.hosting NAME worker|client PLACE`, in its own environment.

It says `ready`, reads turns from standard input, one JSON object a line, and answers each with a line. Nothing here but
the standard library is needed; what the peer prints goes to standard error.
"""

import gc
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from typing import Any, TextIO

from benchmarks.contest.contenders import CONTENDERS
from benchmarks.workloads import Graph, shaped


def turn(peer: Any, shape: str, size: int, calls: int, copies: int) -> dict[str, Any]:
    """Run a graph *calls* times, one after the other; with *copies*, so many flows are one call.

    Returns:
        The seconds of each call, the value of the last one (of copies, their sum), and bytes of memory of this process:
        before, and the most there was since, or ever where the system counts no peak anew.
    """
    graph = shaped(shape, size)
    _forget_peak()
    before = _resident()
    seconds, value = [], []
    for _ in range(calls):
        run = _prepared(peer, graph, copies)
        gc.collect()
        began = time.perf_counter()
        value = run()
        seconds.append(time.perf_counter() - began)
    return {"seconds": seconds, "value": value, "memory": [before, _peak()]}


def _prepared(peer: Any, graph: Graph, copies: int) -> Callable[[], list[int]]:
    if copies == 1:
        one = peer.prepare(graph)
        return lambda: list(one())
    if hasattr(peer, "prepare_many"):
        many = peer.prepare_many(graph, copies)
        return lambda: [many()]
    each = [peer.prepare(graph) for _ in range(copies)]
    return lambda: [sum(value for run in each for value in run())]


def _resident() -> int:
    try:
        with open("/proc/self/statm") as told:
            return int(told.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return _peak()


def _forget_peak() -> None:
    """Have the peak counted from now on: what was there while modules were loaded would hide what jobs take."""
    gc.collect()
    try:
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)  # what is free goes back, or jobs would be given it unseen
        with open("/proc/self/clear_refs", "w") as peak:
            peak.write("5")
    except (AttributeError, OSError):
        pass


def _peak() -> int:
    try:
        with open("/proc/self/status") as told:
            return next(int(line.split()[1]) * 1024 for line in told if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return _greatest()


def _greatest() -> int:
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _serve(peer: Any, answers: TextIO) -> None:
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        try:
            answer = turn(peer, **json.loads(line))
        except Exception as error:
            traceback.print_exc()
            answer = {"problem": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(answer), file=answers, flush=True)
    peer.close()


def main(name: str, role: str, place: str) -> None:
    """Be the worker or the client of a contender."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    contender = CONTENDERS[name]
    if contender.where != "redis":
        tempfile.tempdir = place  # what it leaves there is removed
    module = import_module(contender.module)
    if role == "worker":
        print("ready", file=answers, flush=True)
        module.work(place)
    else:
        made = getattr(module, contender.peer)
        _serve(made(place) if contender.where in {"file", "redis"} else made(), answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
