"""Ids of runs are unique, in threads and in processes that were forked."""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor

from flows._run_options import run_options


def ids(count: int) -> list[str]:
    return [run_options(None, {}, {}).run_id for _ in range(count)]


def test_ids_are_unique_in_threads() -> None:
    with ThreadPoolExecutor(4) as threads:
        made = [one for some in threads.map(ids, [300] * 8) for one in some]
    assert len(set(made)) == len(made) == 2400
    assert {len(one) for one in made} == {32}


def test_a_forked_process_makes_others() -> None:
    ids(1)
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads, which is what users do
        child = os.fork()
    if child == 0:
        os.write(writing, " ".join(ids(100)).encode())
        os._exit(0)
    os.close(writing)
    with open(reading, encoding="ascii") as told:
        theirs = told.read().split()
    os.waitpid(child, 0)
    assert len(theirs) == 100
    assert not set(theirs) & set(ids(100))
