"""Workers of runs in a file hear of each deadline, whoever has submitted the run."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import flows
from executors.sqlite import SqliteExecutor
from tests.executors.sqlite_runs import packed_of, store_at

SOON = 60.0


@flows.task
def nobodys() -> None: ...


class Ear:
    """A listener that keeps the deadlines that it is told."""

    def __init__(self) -> None:
        self.told: list[float] = []
        self._heard = threading.Condition()

    def wake(self) -> None: ...

    def stop(self, run_id: str) -> None: ...

    def overdue(self, instant: float) -> None:
        with self._heard:
            self.told.append(instant)
            self._heard.notify_all()

    def hears(self, instant: float) -> bool:
        """Wait until it has been told."""
        with self._heard:
            return self._heard.wait_for(lambda: any(abs(one - instant) < 1.0 for one in self.told), SOON)


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[SqliteExecutor]:
    made = SqliteExecutor(f"sqlite:///{tmp_path}/runs.db?synchronous=normal")
    yield made
    made.close()


def test_workers_hear_of_the_deadlines_of_runs_that_others_submit(executor: SqliteExecutor, tmp_path: Path) -> None:
    store, ear, late = executor.store, Ear(), Ear()
    end = store.listen("w", frozenset({"default"}), ear)
    other = store_at(tmp_path / "runs.db")

    def submitted(timeout: float) -> float:
        put = other.put_run(packed_of(flows.plan(nobodys()), timeout=timeout))
        return float(store.seconds(put.now + timeout * 1e6))

    assert ear.hears(submitted(2000.0))
    sooner, over = submitted(1000.0), submitted(-1000.0)
    assert ear.hears(over)
    end_late = store.listen("late", frozenset({"default"}), late)
    assert late.hears(over)
    ear.told.clear()
    store.rescue()
    assert ear.hears(sooner), "the next one"
    end()
    end_late()
    other.database.close()
