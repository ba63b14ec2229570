"""Run the models: the good ones must have no error, and each control, which lacks one protection, must fail."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
SECONDS = 300
LIVENESS = "-DLIVENESS"

TWO = "-DW=2 -DFAULTS=1 -DJOBS=2 -DATTEMPTS=1 -DDEATHS=0 -DLOST_LIMIT=1 -DNO_CANCEL"

GOOD = (
    ("sweep.pml", ""),
    ("sweep.pml", "-DNO_CANCEL"),
    ("sweep.pml", "-DNO_CANCEL -DCHUNK=2"),
    ("sweep.pml", "-DCHUNK=2 -DMARK=1"),
    ("lease.pml", "-DW=2 -DFAULTS=1"),
    ("lease.pml", "-DW=2 -DFAULTS=1 -DNO_CANCEL -DSTARTS"),
    ("lease.pml", "-DW=2 -DFAULTS=1 -DFORGETS=1"),
    ("lease.pml", "-DW=2 -DFAULTS=0 -DDEATHS=0 -DNO_CANCEL -DFAILOVERS=1"),
    ("lease.pml", TWO),
    ("lease.pml", "-DW=3 -DFAULTS=0 -DDEATHS=1 -DNO_CANCEL"),
    ("lease.pml", "-DW=2 -DFAULTS=0 -DDEATHS=1 -DNO_CANCEL -DLIVENESS"),
    ("lease.pml", "-DW=2 -DFAULTS=1 -DDEATHS=0 -DNO_CANCEL -DLIVENESS"),
    ("lease.pml", "-DW=2 -DFAULTS=0 -DDEATHS=0 -DLIVENESS"),
    ("suspects.pml", ""),
    ("suspects.pml", "-DJOBS=4 -DSLOTS=3"),
    ("suspects.pml", "-DJOBS=4 -DDEADLY=2 -DRELEASES=1"),
)
CONTROLS = (
    ("sweep.pml", "-DEARLY_RELEASE"),
    ("sweep.pml", "-DNO_CANCEL -DDRAIN_FIRST"),
    ("sweep.pml", "-DNO_CURSOR"),
    ("sweep.pml", "-DNO_STATE_GUARD"),
    ("lease.pml", "-DW=2 -DFAULTS=1 -DNO_FENCE"),
    ("lease.pml", "-DW=2 -DFAULTS=1 -DNO_STALE"),
    ("lease.pml", "-DW=2 -DFAULTS=0 -DDEATHS=1 -DNO_CANCEL -DLIVENESS -DNO_RESCUE"),
    ("lease.pml", "-DW=2 -DFAULTS=0 -DDEATHS=0 -DNO_CANCEL -DLIVENESS -DNO_WAKE"),
    ("lease.pml", "-DW=2 -DFAULTS=1 -DNO_VOID"),
    ("lease.pml", "-DW=2 -DFAULTS=1 -DRESCUE_BLIND"),
    ("lease.pml", "-DW=2 -DFAULTS=1 -DEXTEND_BLIND"),
    ("lease.pml", "-DW=2 -DFAULTS=1 -DNO_CANCEL_CHECK"),
    ("lease.pml", "-DW=2 -DFAULTS=1 -DDEDUPE_BY_ID"),
    ("lease.pml", f"{TWO} -DNO_SEQUENCE"),
    ("lease.pml", "-DW=2 -DFAULTS=1 -DFORGETS=1 -DNO_GUARD"),
    ("lease.pml", "-DW=2 -DFAULTS=1 -DNO_CANCEL -DSTARTS -DNO_LOST_LIMIT"),
    ("lease.pml", "-DW=2 -DFAULTS=0 -DDEATHS=0 -DNO_CANCEL -DFAILOVERS=1 -DPLAIN_FENCE"),
    ("suspects.pml", "-DMANY_SUSPECTS"),
    ("suspects.pml", "-DFORGIVING"),
)


def errors_of(model: str, flags: str) -> tuple[int, int]:
    """Search all states of a model; returns how many errors were found, and how many states there are."""
    lively = LIVENESS in flags  # whether something always comes, where each process gets its turn
    how = ["-DNFAIR=4"] if lively else ["-DSAFETY"]
    with tempfile.TemporaryDirectory() as folder:
        for command in (
            ["spin", "-a", *flags.split(), str(HERE / model)],
            ["cc", "-O0", "-w", *how, "-DMEMLIM=3000", "-o", "pan", "pan.c"],
        ):
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=SECONDS)
        search = ["./pan", *(["-a", "-f"] if lively else []), "-n", "-m1000000"]
        ran = subprocess.run(search, cwd=folder, check=False, capture_output=True, text=True, timeout=SECONDS)
    found = re.search(r"errors: (\d+)\s+(\d+) states, stored", ran.stdout)
    if found is None or "max search depth too small" in ran.stdout or "out of memory" in ran.stdout:
        raise SystemExit(f"{model} {flags}: the search was not finished\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    return int(found[1]), int(found[2])


def main() -> int:
    """Check all; returns the exit code."""
    if not shutil.which("spin") or not shutil.which("cc"):
        sys.exit("the proof needs spin and a C compiler: apt-get install spin gcc libc6-dev")
    wrong = 0
    for title, models, should_fail in (("good", GOOD, False), ("control", CONTROLS, True)):
        for model, flags in models:
            began = time.monotonic()
            errors, states = errors_of(model, flags)
            right = bool(errors) == should_fail
            wrong += not right
            said = "ok" if right else "WRONG"
            seconds = time.monotonic() - began
            sys.stdout.write(f"{said:5} {title:7} {model} {flags}: {errors} errors, {states} states, {seconds:.1f} s\n")
            sys.stdout.flush()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
