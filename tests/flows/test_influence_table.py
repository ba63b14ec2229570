"""The whole product of a child's end, its policy, the kind of edge and the state of the dependent, cell by cell.

What is expected is written down here from the words of the contract; the machine's own table is only checked against.
"""

import itertools
from typing import NamedTuple

import pytest

from flows import _machine as machine
from flows._state import ACTIVE, EFFECTS, IGNORE, ORDER_ONLY, STATE_NAMES, WAITING_CHILDREN, Commands, Retry, RunState
from tools import pages

POLICIES = ("fail", "ignore", "continue", "remove", "skip")
KINDS = ("value", "optional", "order")

# How a child ends, and the state that it is in then.
ENDINGS = {
    "completed": "completed",
    "failed": "failed",
    "timed out": "failed",
    "lost": "failed",
    "cancelled": "cancelled",
    "skipped by its handler": "skipped",
    "skipped by its condition": "skipped",
}

# For a dependent that waits: what becomes of it when others of its children are pending, and when this was the last.
# "waits", "runs", or the end that it takes.
#                 value and optional edges of a child that completed, and every optional edge: it counts as done
DONE = ("waits", "runs")
EXPECTED: dict[tuple[str, str, str], tuple[str, str]] = {
    **{("completed", policy, kind): DONE for policy in POLICIES for kind in KINDS},
    **{(state, policy, "optional"): DONE for state in ("failed", "cancelled", "skipped") for policy in POLICIES},
    **{(state, "ignore", kind): DONE for state in ("failed", "cancelled", "skipped") for kind in ("value", "order")},
    **{(state, "remove", kind): DONE for state in ("failed", "cancelled", "skipped") for kind in ("value", "order")},
    ("failed", "fail", "value"): ("failed", "failed"),
    ("failed", "fail", "order"): ("failed", "failed"),
    ("failed", "continue", "value"): ("runs", "runs"),
    ("failed", "continue", "order"): ("runs", "runs"),
    ("failed", "skip", "value"): ("waits", "skipped"),
    ("failed", "skip", "order"): ("waits", "skipped"),
    ("cancelled", "fail", "value"): ("cancelled", "cancelled"),
    ("cancelled", "fail", "order"): ("cancelled", "cancelled"),
    ("cancelled", "continue", "value"): ("runs", "runs"),
    ("cancelled", "continue", "order"): ("runs", "runs"),
    ("cancelled", "skip", "value"): ("cancelled", "cancelled"),
    ("cancelled", "skip", "order"): ("cancelled", "cancelled"),
    ("skipped", "fail", "value"): ("waits", "skipped"),
    ("skipped", "fail", "order"): DONE,
    ("skipped", "continue", "value"): ("runs", "runs"),
    ("skipped", "continue", "order"): ("runs", "runs"),
    ("skipped", "skip", "value"): ("waits", "skipped"),
    ("skipped", "skip", "order"): DONE,
}


def test_the_table_of_the_documentation_says_the_same() -> None:
    said = {"optional": "optional", "value": "result", "order": "order only"}
    words = {cell: pages.SAID[expected] for cell, expected in EXPECTED.items()}
    assert {cell: pages.fate(cell[0], cell[1], said[cell[2]]) for cell in EXPECTED} == words


# Dependents that do not wait for their children any more: nothing may touch them.
PAST = ("released early", "delayed", "active", "completed", "failed", "cancelled", "skipped")


class Cell(NamedTuple):
    ending: str
    policy: str
    kind: str


CELLS = [Cell(*parts) for parts in itertools.product(ENDINGS, POLICIES, KINDS)]
CHILD, SIBLING, RELEASER, PARENT = range(4)


def effect_of(cell: Cell) -> int:
    return IGNORE if cell.kind == "optional" else EFFECTS[cell.policy] | (ORDER_ONLY if cell.kind == "order" else 0)


def columns(cell: Cell, *, delayed: bool = False, listed: bool = False) -> RunState:
    """A child, its sibling and a job whose failure releases early, all with edges to one parent."""
    run = RunState(
        size=4,
        state=bytearray(4),
        pending=[0, 0, 0, 3],
        ordinal=[0] * 4,
        edges=[[PARENT], [PARENT], [PARENT], []],
        effects={CHILD: [effect_of(cell)], RELEASER: [EFFECTS["ignore" if listed else "continue"]]},
        delays={PARENT: 5.0} if delayed else {},
        limits=[1] * 4,
        gated={CHILD} if cell.ending == "skipped by its condition" else set(),
    )
    machine.begin(run, Commands())
    machine.grant(run, (CHILD, SIBLING, RELEASER))
    return run


def end(run: RunState, cell: Cell) -> None:
    """Bring the child to its end by the way that it goes in a run."""
    out = Commands()
    if cell.ending == "lost":
        while machine.lose(run, CHILD, out):
            machine.grant(run, (CHILD,))
    elif cell.ending == "timed out":
        assert not machine.retry(run, CHILD, Retry(0.0), out)
    else:
        machine.settle(run, CHILD, STATE_NAMES.index(ENDINGS[cell.ending]), out)
    while machine.sweep(run, 1, out):
        pass


def done(run: RunState, job: int, state: str = "completed") -> None:
    out = Commands()
    machine.settle(run, job, STATE_NAMES.index(state), out)
    machine.sweep(run, 100, out)


def fate(run: RunState) -> str:
    name = STATE_NAMES[run.state[PARENT]]
    return {"waiting_children": "waits", "waiting": "runs", "delayed": "runs"}.get(name, name)


def test_every_cell_is_written_down() -> None:
    assert len(EXPECTED) == 4 * 5 * 3
    assert {(ENDINGS[cell.ending], cell.policy, cell.kind) for cell in CELLS} == set(EXPECTED)


# One test a row: what is wrong in it is told cell by cell.


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_dependent_that_waits(ending: str) -> None:
    cells = [cell for cell in CELLS if cell.ending == ending]
    expected = {cell: EXPECTED[ENDINGS[cell.ending], cell.policy, cell.kind] for cell in cells}
    assert {cell: fates_of_a_dependent_that_waits(cell) for cell in cells} == {
        cell: (pending, last, last) for cell, (pending, last) in expected.items()
    }


def fates_of_a_dependent_that_waits(cell: Cell) -> tuple[str, str, str]:
    """When another child is pending; when that one has completed, too; when the two ended the other way round."""
    first = columns(cell)
    done(first, RELEASER)
    end(first, cell)
    pending = fate(first)
    done(first, SIBLING)
    then = columns(cell)
    done(then, RELEASER)
    done(then, SIBLING)
    end(then, cell)
    return pending, fate(first), fate(then)


@pytest.mark.parametrize("past", PAST)
def test_a_dependent_that_waits_no_more_is_left_alone(past: str) -> None:
    touched = {cell: change_of_one_that_waits_no_more(cell, past) for cell in CELLS}
    assert {cell: states for cell, states in touched.items() if states[0] != states[1]} == {}


def change_of_one_that_waits_no_more(cell: Cell, past: str) -> tuple[str, str]:
    run = columns(cell, delayed=past == "delayed")
    if past in ("failed", "cancelled", "skipped", "completed") and past != "completed":
        run.state[PARENT] = STATE_NAMES.index(past)
        run.open -= 1
    else:
        done(run, RELEASER, "failed")  # releases it
        assert run.state[PARENT] in (STATE_NAMES.index("waiting"), STATE_NAMES.index("delayed"))
    if past in ("active", "completed"):
        machine.grant(run, (PARENT,))
    if past == "completed":
        done(run, PARENT)
    before = run.state[PARENT]
    end(run, cell)
    done(run, SIBLING, "failed")
    assert run.state[PARENT] != WAITING_CHILDREN, cell
    return STATE_NAMES[before], STATE_NAMES[run.state[PARENT]]


# What an item's end does to its list; `continue` is refused when the flow is planned.
ITEM = {
    **{("completed", policy): DONE for policy in POLICIES},
    **{(state, policy): DONE for state in ("failed", "cancelled", "skipped") for policy in ("ignore", "remove")},
    ("failed", "fail"): ("failed", "failed"),
    ("failed", "skip"): ("waits", "skipped"),
    ("cancelled", "fail"): ("cancelled", "cancelled"),
    ("cancelled", "skip"): ("cancelled", "cancelled"),
    ("skipped", "fail"): ("waits", "skipped"),
    ("skipped", "skip"): ("waits", "skipped"),
}


@pytest.mark.parametrize("begun", [3, 2], ids=["all begun", "one to come"])
def test_an_item_and_its_list(begun: int) -> None:
    cells = [cell for cell in CELLS if cell.kind == "value" and cell.policy != "continue"]
    assert len(cells) == len(ENDINGS) * 4
    for cell in cells:
        check_item(cell, begun)


def check_item(cell: Cell, begun: int) -> None:
    pending, last = ITEM[ENDINGS[cell.ending], cell.policy]
    run = columns(cell, listed=True)
    run.state[PARENT] = ACTIVE
    machine.expand(run, PARENT, 6 - begun, Commands())
    run.begun[PARENT] = 3
    end(run, cell)
    assert fate(run) == pending, cell
    done(run, SIBLING)
    done(run, RELEASER)
    if begun == 2 and last != "failed" and last != "cancelled":
        assert fate(run) == "waits", cell
        run.begun[PARENT] = 4
        run.pending[PARENT] -= 1
        machine.take_up(run, (PARENT,), Commands())
    assert fate(run) == {"runs": "completed"}.get(last, last), cell
