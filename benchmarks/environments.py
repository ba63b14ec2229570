"""Environments of peers: each has one of its own, with pinned packages, made when it is first measured.

They stand inside the environment that runs the benchmarks, beside its packages and not among them: what a peer asks for
never meets what another one does, and removing the one removes them all.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

INSTALL_SECONDS = 900
PLACE = Path(sys.prefix) / "peers"


class NotThereError(Exception):
    """What a peer needs is not on this machine, and cannot be had; says what."""


@dataclass(frozen=True, slots=True)
class Environment:
    """The packages of one peer, each pinned: `name==1.2` for Python's, `name@1.2` for Node's.

    Attributes:
        packages: None at all means the environment that runs the benchmarks.
        binaries: Packages whose newest releases are not built for every machine, and are better not built here.
    """

    name: str
    packages: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where it is."""
        return PLACE / self.name

    @property
    def node(self) -> bool:
        """Whether it is Node's."""
        return any("@" in package for package in self.packages)

    def ready(self) -> str:
        """The program to start, Python or Node, in an environment that is made first where there is none.

        Raises:
            NotThereError: It cannot be made, with the reason.
        """
        if not self.packages:
            return sys.executable
        program = _found("node") if self.node else str(self.folder / "bin" / "python")
        stamp = self.folder / "installed"
        wanted = "\n".join((f"{sys.version_info[0]}.{sys.version_info[1]}", *self.packages))
        if not stamp.exists() or stamp.read_text() != wanted:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            try:
                self._install(program)
            except BaseException:
                shutil.rmtree(self.folder, ignore_errors=True)
                raise
            stamp.write_text(wanted)
        return program

    def variables(self) -> Mapping[str, str]:
        """What its programs are started with: where their modules are, for those of Node."""
        return {"NODE_PATH": str(self.folder / "node_modules")} if self.node else {}

    def _install(self, program: str) -> None:
        if self.node:
            _run(_found("npm"), "install", "--no-audit", "--no-fund", "--prefix", str(self.folder), *self.packages)
        else:
            _run(sys.executable, "-m", "venv", str(self.folder))
            _run(program, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *self.packages)


def _found(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise NotThereError("node and npm are not installed")
    return found


def _run(*command: str) -> None:
    try:
        subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS, env=_without_pythonpath()
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip()
        raise NotThereError(f"{Path(command[0]).name} could not install it: {said.splitlines()[-1][:200]}") from error


def _without_pythonpath() -> dict[str, str]:
    """What is on the path of this process is not among the packages of a peer."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
