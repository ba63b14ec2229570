"""Whether the script of the parent process is being imported here, in a child that runs handlers of it."""

from __future__ import annotations

from flows.errors import DefinitionError

under_way = False
"""Read by executors when a flow is handed to them."""


def refuse() -> None:
    """A flow is to be run by a script that is only imported: each child would begin the work anew, in children too.

    Raises:
        DefinitionError: Always.
    """
    raise DefinitionError(
        "this script runs a flow when it is imported, and processes for run_in='process' import it to find its "
        'functions; put what it runs under if __name__ == "__main__":'
    )
