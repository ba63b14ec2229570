"""Arrays and data frames on a cluster: they go from worker to worker as they are, and come here when asked for."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tornado.iostream
from distributed import Client

import flows
from executors.dask import executor_at
from executors.dask._executor import DaskExecutor
from executors.dask._way import Way

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROWS = 300_000


@pytest.fixture
def executor(client: Client) -> DaskExecutor:
    return DaskExecutor(Way(client))


@pytest.fixture
def came(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes this process has received, from when on it is asked for."""
    counted = [0]
    read = tornado.iostream.IOStream.read_from_fd

    def reading(self: Any, buffer: Any) -> int | None:
        count = read(self, buffer)
        counted[0] += count or 0
        return count

    monkeypatch.setattr(tornado.iostream.IOStream, "read_from_fd", reading)
    return counted


def make_frame(seed: int) -> pd.DataFrame:
    numbers = np.random.default_rng(seed)
    frame = pd.DataFrame({"weight": numbers.random(ROWS), "lot": numbers.integers(0, 9, ROWS)})
    frame["kind"] = pd.Categorical.from_codes(frame["lot"].to_numpy() % 2, ["ore", "coal"])
    frame["at"] = pd.Timestamp("2026-11-22", tz="UTC") + pd.to_timedelta(frame["lot"], unit="h")
    return frame


def heavy_of(frame: pd.DataFrame, limit: float) -> pd.DataFrame:
    frame.attrs["seen_by"] = os.getpid()
    return frame[frame["weight"] > limit]


def summed(*frames: pd.DataFrame) -> pd.Series:
    return pd.concat(frames).groupby("kind", observed=True)["weight"].sum()


frame_of = flows.task(make_frame, name="frames-make")
heavy = flows.task(heavy_of, name="frames-heavy")
total = flows.task(summed, name="frames-total")


def test_frames_go_from_worker_to_worker_and_only_the_root_comes_here(
    executor: DaskExecutor, client: Client, came: list[int]
) -> None:
    frames = [frame_of.using(queue=str(worker), id=f"frame{worker}")(worker) for worker in range(2)]
    parts = [heavy.using(queue=str(1 - worker), id=f"part{worker}")(frames[worker].out, 0.5) for worker in range(2)]
    run = flows.execute(total(*[part.out for part in parts]), executor=executor)
    expected = summed(*[heavy_of(make_frame(worker), 0.5) for worker in range(2)])
    pd.testing.assert_series_equal(run.value, expected)
    assert run.jobs["frame0"].worker == run.jobs["part1"].worker != run.jobs["part0"].worker
    size = int(make_frame(0).memory_usage().sum())
    assert size > 5_000_000
    assert came[0] < size / 10
    pd.testing.assert_frame_equal(run.jobs["frame1"].value, make_frame(1))  # asked for: it comes
    assert came[0] > size


def test_arrays_of_all_kinds_arrive_as_they_are(executor: DaskExecutor) -> None:
    def arrays() -> list[Any]:
        grid = np.arange(10_000.0).reshape(100, 100)
        pair = np.zeros(3, dtype=[("x", "<i4"), ("y", "<f8")])
        return [
            grid,
            grid.T,
            grid[::3, 5:80:7],
            np.asfortranarray(grid),
            pair,
            np.array(["a", None], object),
            np.pi * 1j,
        ]

    def parts(values: list[Any], corner: np.ndarray, scale: np.ndarray) -> list[Any]:
        return [*values, corner * scale]

    made = flows.task(arrays, name="frames-arrays")()
    run = flows.execute(
        flows.task(parts, name="frames-parts")(made.out, made.out[0][0], np.ones(100)), executor=executor
    )
    for value, expected in zip(run.value, [*arrays(), np.arange(100.0)], strict=True):
        np.testing.assert_array_equal(value, expected)
        assert np.asarray(value).dtype == np.asarray(expected).dtype


def test_columns_and_rows_are_parts_of_results(executor: DaskExecutor) -> None:
    small = flows.task(lambda: pd.DataFrame({"price": [1.5, 2.5], "amount": [4, 2]}), name="frames-small")()
    worth = flows.task(lambda price, amount: float((price * amount).sum()), name="frames-worth")
    assert flows.execute(worth(small.out["price"], small.out["amount"]), executor=executor).value == 11.0


def test_lists_conditions_and_children_of_arrays(executor: DaskExecutor) -> None:
    split = flows.task(lambda: np.array_split(np.arange(10), 3), name="frames-split")()
    squares = flows.each(flows.task(lambda part: part**2, name="frames-square"), split.out)

    def joined(parts: list[Any], children: flows.Children = flows.INJECTED) -> Any:
        assert len(children) == 1
        return np.concatenate(parts)

    some = flows.task(lambda: {"rows": pd.DataFrame({"a": [1]}), "any": np.bool_(False)}, name="frames-some")()
    unwanted = flows.when(some.out["any"], flows.task(lambda rows: rows, name="frames-unwanted")(some.out["rows"]))
    run = flows.execute(
        flows.flow(lambda: (flows.task(joined, name="frames-joined")(squares.out), unwanted)),
        executor=executor,
        check=False,
    )
    np.testing.assert_array_equal(run.jobs["frames-joined"].value, np.arange(10) ** 2)
    assert run.jobs["frames-unwanted"].state == "skipped"


def test_a_frame_is_no_condition(executor: DaskExecutor) -> None:
    many = flows.task(lambda: pd.DataFrame({"a": [1, 2]}), name="frames-many")()
    run = flows.execute(
        flows.when(many.out, flows.task(lambda: 1, name="frames-never")()), executor=executor, check=False
    )
    assert "The truth value of a DataFrame is ambiguous" in str(run.jobs["frames-never"].error)


def test_a_journal_keeps_json_and_says_so_of_the_rest(client: Client, tmp_path: Path) -> None:
    address = client.scheduler_info()["address"].replace("tcp", "dask")
    executor: Any = executor_at(f"{address}?journal=sqlite:///{tmp_path}/runs.db")
    small = flows.task(lambda: pd.DataFrame({"a": [1, 2]}), name="frames-kept", attempts=3)
    file = tmp_path / "frame.pickle"

    def stored(path: str) -> str:
        Path(path).write_bytes(pickle.dumps(pd.DataFrame({"a": [1, 2]})))
        return path

    def read(path: str) -> int:
        return int(pickle.loads(Path(path).read_bytes())["a"].sum())

    try:
        run = flows.execute(small(), executor=executor, check=False)
        job = run.jobs["frames-kept"]
        assert len(job.attempts) == 1
        assert "DataFrame" in str(job.error)
        assert "of type DataFrame has no JSON form" in str(job.error)
        by_name = flows.task(read, name="frames-read")(flows.task(stored, name="frames-stored")(str(file)).out)
        assert flows.execute(by_name, executor=executor).value == 3
    finally:
        executor.close()
