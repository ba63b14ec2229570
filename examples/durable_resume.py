"""A process is killed in the middle of a flow; another takes the run up: what had completed is not done again."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import flows

FOLDER = Path(os.environ.get("SHOP_FOLDER") or tempfile.mkdtemp())
EXECUTOR = f"sqlite:///{FOLDER}/shop.db"  # the one line that makes the flow durable
LEDGER = FOLDER / "ledger"


def note(line: str) -> None:
    with LEDGER.open("a") as ledger:
        ledger.write(line + "\n")


@flows.task
def pick(item: str) -> str:
    note(f"pick {item}")
    return item


@flows.task
def pack(items: list[str]) -> str:
    if "SHOP_FOLDER" in os.environ:  # the child: the power fails here, while this job runs
        os.kill(os.getpid(), signal.SIGKILL)
    note("pack")
    return f"a box with {', '.join(items)}"


@flows.task
def ship(box: str) -> str:
    note("ship")
    return f"shipped {box}"


@flows.flow
def order() -> flows.Job[str]:
    picked = [pick(item) for item in ("tea", "cups", "pot")]
    return ship(pack([one.out for one in picked]).out)


if __name__ == "__main__":
    if "SHOP_FOLDER" in os.environ:
        flows.execute(order, executor=EXECUTOR, key="order:1")
    child = subprocess.run([sys.executable, __file__], env={**os.environ, "SHOP_FOLDER": str(FOLDER)}, check=False)
    print("the child ended with", child.returncode, "after", LEDGER.read_text().split("\n")[:-1])

    run = flows.resume("order:1", executor=EXECUTOR)  # from here it would do for any process
    print(run.state, run.value)

    assert child.returncode == -signal.SIGKILL
    assert run.value == "shipped a box with tea, cups, pot"
    assert sorted(LEDGER.read_text().split("\n")[:-1]) == ["pack", "pick cups", "pick pot", "pick tea", "ship"]
    [lost, kept] = run.jobs["pack"].attempts  # the one that was struck is on record, and cost no attempt
    assert (lost.outcome, kept.outcome) == ("lost", "completed")
