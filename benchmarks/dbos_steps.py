"""DBOS's durable steps on SQLite, for another process to measure: `python dbos_steps.py FOLDER`.

Runs in DBOS's own virtual environment, which has nothing else of this checkout's. For each number on standard input so
many steps are run, one after the other in one workflow; the answer is the seconds of the clock and of the processor.
"""

import sys
import time

from dbos import DBOS


@DBOS.step()
def step(value: int) -> int:
    """One durable step."""
    return value + 1


@DBOS.workflow()
def workflow(steps: int) -> int:
    """So many steps."""
    value = 0
    for _ in range(steps):
        value = step(value)
    return value


def main(folder: str) -> None:
    """Answer until the input ends."""
    url = f"sqlite:///{folder}/dbos.db"
    DBOS(config={"name": "bench", "system_database_url": url, "run_admin_server": False, "log_level": "ERROR"})
    DBOS.launch()
    for line in sys.stdin:
        steps = int(line)
        began, worked = time.perf_counter(), time.process_time()
        done = workflow(steps)
        took, used = time.perf_counter() - began, time.process_time() - worked
        if done != steps:
            sys.exit(f"{done} steps instead of {steps}")
        sys.stdout.write(f"{took} {used}\n")
        sys.stdout.flush()
    DBOS.destroy()


if __name__ == "__main__":
    main(sys.argv[1])
