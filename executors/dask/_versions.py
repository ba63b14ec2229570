"""Whether what is installed on the cluster fits what is installed here."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

import flows
from flows.errors import ExecutorError

if TYPE_CHECKING:
    from distributed import Client

Installed = tuple[str | None, tuple[str, ...]]
"""The version of this library, if any, and the first two parts of Python's."""


def check_versions(client: Client) -> None:
    """See that the scheduler and all workers have this library, in this version, and the same Python.

    Raises:
        ExecutorError: Some have not. The message names them and what they have.
    """

    def look() -> Any:  # inside, so that it travels by value: where this library is missing, it must run all the same
        import platform

        try:
            import flows
        except ImportError:
            return None, platform.python_version_tuple()[:2]
        return flows.__version__, platform.python_version_tuple()[:2]

    here: Installed = flows.__version__, platform.python_version_tuple()[:2]
    found: dict[str, Installed] = {"the scheduler": client.run_on_scheduler(look)}
    found |= {f"worker {address}": one for address, one in client.run(look).items()}
    wrong = {place: one for place, one in found.items() if (one[0], tuple(one[1])) != here}
    if wrong:
        spelled = "; ".join(f"{place} has {_spelled(one)}" for place, one in list(wrong.items())[:5])
        raise ExecutorError(
            f"the Dask cluster does not fit: here is {_spelled(here)}, but {spelled}. Install the same versions of "
            "flowproducer and Python on all sides"
        )


def _spelled(one: Installed) -> str:
    version, python = one
    return f"{'no flows' if version is None else f'flows {version}'} on Python {'.'.join(python)}"
