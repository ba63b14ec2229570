"""The command ``flows``: plan, run and watch flows, work them off, look after queues and dead letters.

A front to what `flows` and `flows.operating` offer to programs; nothing happens here that a program could not do.
Each command stands in a module of its own and imports what it needs when it runs, so that ``flows --help`` is quick.
"""

from __future__ import annotations

import sys
from typing import Final

MISSING: Final = """flows: the command line needs typer and rich, which are not installed.
  pip install 'flowproducer[cli]'
"""


def main() -> int:
    """Run the command that the process was called with; returns the exit code.

    0: done. 1: the run failed or was cancelled, or what was asked for could not be done. 2: the command line or the
    flow is wrong, and nothing was run. 3: a worker asks to be restarted. 130: interrupted.
    """
    try:
        import rich
        import typer
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("typer", "rich"):
            raise
        sys.stderr.write(MISSING)
        return 2
    del rich, typer
    from flows._cli._app import run

    return run()
