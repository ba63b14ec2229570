"""SQLite is the machine: whatever is done to a store in a file and to the model in memory, they stand alike."""

import itertools
import shutil
import tempfile
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from executors._stored import written
from executors.memory import MemoryRun, MemoryStore
from executors.sqlite._store import SqliteStore
from flows._state import STATE_NAMES
from flows._verbs import End, FailedSettle, Grant, Settle, Want
from tests.executors.columns import Clock, plan_of, put
from tests.executors.sqlite_runs import Numbered, packed_of, store_at
from tests.flows.naive_run import Dag, Edge, dags

COUNTERS = ("dooms", "skips", "cancels", "conts", "cause", "cut", "made", "lost")
ENDS = (*[End.COMPLETED] * 5, End.FAILED, End.RETRY, End.RETRY, End.SKIPPED, End.CANCELLED, End.RELEASED, End.LOST)


class Pair:
    """A store in a file and one in memory, to which the same is done."""

    def __init__(self, path: Path) -> None:
        self.clock = Clock()
        self.path = path
        self.model = MemoryStore(clock=self.clock, epoch=0.0, lease_seconds=30.0, chunk=1 << 40)
        self.store = self.another()
        self.stores = [self.store]
        self.runs: list[tuple[MemoryRun, Numbered]] = []
        self.held: list[tuple[Grant, Grant]] = []
        self.past: list[tuple[Grant, Grant]] = []
        self.granted_by: dict[Grant, SqliteStore] = {}
        self.passed = False
        self.seq = itertools.count(1)

    def another(self) -> SqliteStore:
        store = store_at(self.path, self.clock)
        store.own_seconds = 30.0
        return store

    def put(self, dag: Dag, **options: Any) -> None:
        plan = plan_of(dag, attempts=3, **options)
        number = self.store.put_run(packed_of(plan)).number
        assert number is not None
        self.runs.append((put(self.model, plan), Numbered(number)))

    def exchange(self, settles: list[tuple[Settle, Settle]], limit: int, of: int | None) -> None:
        theirs: Any = None
        ours: Any = None
        if of is not None:
            theirs, ours = self.runs[of % len(self.runs)]
        seq = next(self.seq)
        first = self.model.exchange("loop", seq, [one for one, _ in settles], Want(limit, theirs), "w")
        second = self.store.exchange(f"loop{id(self.store)}", seq, [two for _, two in settles], Want(limit, ours), "w")
        assert [settle.grant.job for settle in first.refused] == [settle.grant.job for settle in second.refused]
        granted = self.in_turn(list(first.grants), list(second.grants))
        assert [said(theirs) for theirs, _ in granted] == [said(ours) for _, ours in granted]
        self.held += granted
        self.granted_by.update(dict.fromkeys(second.grants, self.store))
        assert first.more == second.more
        if of is None:
            assert first.due_at == second.due_at

    def in_turn(self, theirs: list[Grant], ours: list[Any]) -> list[tuple[Grant, Grant]]:
        """A link that is passed on takes no turn of its run, as one that is exchanged does: then each run by itself."""
        if self.passed:
            runs = [run for run, _ in self.runs]
            theirs.sort(key=lambda grant: runs.index(cast("MemoryRun", grant.run)))
            ours.sort(key=lambda grant: grant.number)
        return list(zip(theirs, ours, strict=True))

    def extend(self) -> set[tuple[Any, ...]]:
        """Each process extends the leases of its own grants."""
        refused: list[Grant] = []
        for store in self.stores:
            refused += store.extend([ours for _, ours in self.held if self.granted_by[ours] is store])
        return {said(grant) for grant in refused}

    def pass_on(self, both: tuple[Grant, Grant]) -> bool:
        """Settle a job and claim its follower, by one row if the store will; says whether it did."""
        theirs, ours = settled(both, End.COMPLETED, 0.0)
        grant = self.store.pass_on(ours, "w")
        if grant is None:
            return False
        run: Any = both[0].run
        reply = self.model.exchange("loop", next(self.seq), [theirs], Want(1, run), "w")
        assert [said(one) for one in reply.grants] == [said(grant)]
        assert not reply.refused
        self.held.append((reply.grants[0], grant))
        self.granted_by[grant] = self.store
        self.passed = True
        return True

    def compare(self) -> None:
        store = self.store
        with store.transaction():
            for theirs, ours in self.runs:
                run = store._run(ours.number)
                assert run is not None
                state, size = theirs.state, theirs.state.size
                states = [STATE_NAMES[run.state.state[job]] for job in range(size)]
                assert states == [STATE_NAMES[code] for code in state.state]
                for name in ("pending", "ordinal"):
                    assert [getattr(run.state, name)[job] for job in range(size)] == list(getattr(state, name)), name
                for name in COUNTERS:
                    column = getattr(run.state, name)
                    found = {job: column.get(job) for job in range(size) if job in column}
                    assert found == getattr(state, name), name
                assert (run.state.open, run.state.turn) == (state.open, state.turn)
                assert (run.ended_at is not None) == theirs.ended
                assert run.state.cancelling == state.cancelling
                erred = run.columns.sparse["erred"]
                assert {job for job in range(size) if job in erred} == set(theirs.errors)


def said(grant: Grant) -> tuple[Any, ...]:
    return grant.job, grant.attempt, grant.suspect, grant.control


def settled(pair: tuple[Grant, Grant], end: End, after: float) -> tuple[Settle, Settle]:
    if end is End.COMPLETED:
        value = [pair[0].job, pair[0].attempt]
        return Settle(pair[0], end, value, 1.0, 2.0), written(Settle(pair[1], end, value, 1.0, 2.0))
    error = ValueError(f"{end.name}")
    return (
        FailedSettle(pair[0], end, error, 1.0, 2.0, after),
        written(FailedSettle(pair[1], end, error, 1.0, 2.0, after)),
    )


moves = st.one_of(
    st.tuples(st.just("claim"), st.integers(0, 8), st.none() | st.integers(0, 2)),
    st.tuples(
        st.just("settle"),
        st.lists(st.tuples(st.integers(0, 30), st.sampled_from(ENDS), st.sampled_from((0.0, 0.0, 7.0))), max_size=6),
        st.integers(0, 4),
    ),
    st.tuples(st.just("zombie"), st.integers(0, 30), st.sampled_from(ENDS)),
    st.tuples(st.just("pass"), st.sampled_from((1.0, 7.0, 31.0)), st.none()),
    st.tuples(st.just("rescue"), st.none(), st.none()),
    st.tuples(st.just("extend"), st.none(), st.none()),
    st.tuples(st.just("cancel"), st.integers(0, 2), st.booleans()),
    st.tuples(st.just("other"), st.none(), st.none()),
)


def play(pair: Pair, order: list[tuple[str, Any, Any]]) -> None:
    for what, one, two in order:
        if what == "claim":
            pair.exchange([], one, two)
        elif what == "settle":
            settles = []
            for pick, end, after in one:
                if pair.held:
                    both = pair.held.pop(pick % len(pair.held))
                    pair.past.append(both)
                    settles.append(settled(both, end, after))
            pair.exchange(settles, two, None)
        elif what == "zombie" and pair.past:
            pair.exchange([settled(pair.past[one % len(pair.past)], two, 0.0)], 0, None)
        elif what == "hand":
            for _ in range(two if pair.held else 0):
                both = pair.held.pop(one % len(pair.held))
                pair.past.append(both)
                if not pair.pass_on(both):
                    pair.held.append(pair.past.pop())
                    break
            else:
                continue  # the next move is to find it as it is
        elif what == "pass":
            pair.clock.now += one
        elif what == "rescue":
            pair.model._claims.leased = {run: None for run, _ in pair.runs if run in pair.model._claims.leased}
            assert pair.model.rescue() == pair.store.rescue()
        elif what == "extend":
            refused = {said(grant) for grant in pair.model.extend([theirs for theirs, _ in pair.held])}
            assert refused == pair.extend()
        elif what == "cancel" and pair.clock.now > 1010:
            theirs, ours = pair.runs[one % len(pair.runs)]
            if two:
                pair.model.cancel(theirs, "enough")
                pair.store.cancel(ours, "enough")
        elif what == "other":
            pair.stores.append(pair.another())
            pair.store = pair.stores[-2 if len(pair.stores) % 2 else -1]
        pair.compare()


@settings(
    max_examples=min(40, settings().max_examples),
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    report_multiple_bugs=False,
)
@given(
    st.lists(
        st.tuples(dags(max_jobs=7), st.sampled_from((0.0, 3.0)), st.integers(0, 1), st.booleans()),
        min_size=1,
        max_size=3,
    ),
    st.lists(moves, max_size=25),
)
def test_a_store_in_a_file_stands_as_the_model_does(
    shapes: list[tuple[Dag, float, int, bool]], order: list[tuple[str, Any, Any]]
) -> None:
    place = Path(tempfile.mkdtemp())
    try:
        pair = Pair(place / "runs.db")
        for dag, delay, priority, lifo in shapes:
            pair.put(dag.as_planned(), delay=delay, priority=priority, lifo=lifo)
        pair.compare()
        play(pair, order)
        for _ in range(20):
            play(pair, [("pass", 8.0, None), ("settle", [(0, End.COMPLETED, 0.0)] * len(pair.held), 64)])
            if all(theirs.ended for theirs, _ in pair.runs):
                break
        else:
            raise AssertionError("no end")
    finally:
        for store in pair.stores:
            store.database.close()
        shutil.rmtree(place)


links = st.one_of(
    *[st.tuples(st.just("hand"), st.integers(0, 30), st.integers(1, 4))] * 4,
    st.tuples(
        st.just("settle"), st.lists(st.tuples(st.integers(0, 30), st.sampled_from(ENDS), st.just(0.0))), st.just(4)
    ),
    st.tuples(st.just("zombie"), st.integers(0, 30), st.sampled_from(ENDS)),
    st.tuples(st.just("pass"), st.sampled_from((1.0, 31.0)), st.none()),
    st.tuples(st.just("rescue"), st.none(), st.none()),
    st.tuples(st.just("extend"), st.none(), st.none()),
    st.tuples(st.just("other"), st.none(), st.none()),
)


@pytest.mark.slow
@settings(
    max_examples=min(40, settings().max_examples),
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    report_multiple_bugs=False,
)
@given(st.lists(st.integers(2, 8), min_size=1, max_size=2), st.lists(links, min_size=4, max_size=16))
def test_links_that_are_passed_on_stand_as_if_they_had_been_exchanged(
    lengths: list[int], order: list[tuple[str, Any, Any]]
) -> None:
    place = Path(tempfile.mkdtemp())
    try:
        pair = Pair(place / "runs.db")
        for length in lengths:
            pair.put(Dag(("fail",) * length, tuple(Edge(link, link + 1) for link in range(length - 1))))
        pair.exchange([], 8, None)
        play(pair, order)
        pair.compare()
    finally:
        for store in pair.stores:
            store.database.close()
        shutil.rmtree(place)


@pytest.mark.parametrize("afters", [(7.0, 2.0), (2.0, 7.0), (5.0, 5.0)])
@pytest.mark.parametrize("first", [0, 1])
def test_of_several_runs_who_is_due_first_is_first(tmp_path: Path, afters: tuple[float, float], first: int) -> None:
    pair = Pair(tmp_path / "runs.db")
    try:
        for _ in afters:
            pair.put(Dag(("fail",), ()).as_planned())
        pair.exchange([], 2, None)
        both = pair.held[:]
        pair.held.clear()
        for run in (first, 1 - first):
            pair.exchange([settled(both[run], End.RETRY, afters[run])], 0, None)
        pair.clock.now += 8.0
        pair.exchange([], 1, None)
        ((theirs, ours),) = pair.held
        wanted = first if afters[0] == afters[1] else afters.index(min(afters))
        numbers = [run.number for _, run in pair.runs]
        assert [run for run, _ in pair.runs].index(cast("MemoryRun", theirs.run)) == wanted
        assert numbers.index(cast("Any", ours).number) == wanted
    finally:
        pair.store.database.close()
