"""Rules of this code base that no linter knows, read off the syntax trees.

The lists of exceptions only shrink: an entry that is not needed, or allows more than is needed, fails too.
"""

import ast
import functools
import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import flows

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ("flows", "executors")
EVERYTHING = (*LIBRARY, "tests", "tools", "examples", "benchmarks")

MODULE_LINES = 400
FUNCTION_LINES = 50
# File -> its length today.
LONG_MODULES: dict[str, int] = {}
# "file::function" (methods: "file::Class.method") -> its length today, docstring not counted.
LONG_FUNCTIONS: dict[str, int] = {}
# A sleep waits for luck: use an event, a virtual clock, a condition. "file::function" -> why it must be.
SLEEPERS: dict[str, str] = {
    "executors/sqlite/_file.py::_journal_mode": "SQLite itself does not wait here: nothing tells when another has done",
    "flows/testing/_drawn_flows.py::async_step": "a simulated handler, whose second takes no time",
    "flows/testing/_async_jobs.py::AsyncJobs.async_attempt": "on a virtual event loop, which never waits",
    "tests/testing/planted/catalogue.py::pause": "the same: planted bugs are simulated",
    "tests/testing/shop.py::nap": "the same: its hours take no time",
    "tests/testing/test_crashes.py::pay": "the same",
    "tests/testing/test_plugin.py::nap": "the same",
    "tests/testing/test_calm.py::test_an_async_generator_that_is_left_is_closed_by_the_loop": "the same",
    "tests/testing/test_calm.py::test_days_in_which_leases_are_renewed_pass_at_once": "the same",
    "flows/testing/_conformance_retries.py::Retries.test_a_late_result_is_not_taken_for_that_of_the_next_attempt": (
        "a late result has the time to arrive: nothing tells of it from outside"
    ),
    "tests/testing/shop.py::rest": "a sleep that simulations must notice, and do not let happen",
}

BLOCKS = ("body", "orelse", "handlers", "finalbody", "cases")
"""Where statements hold others, and with them functions."""
RELATIVE = re.compile(r"\s*from\s*\.")
TEXTS = re.compile(r'"""(?:[^"\\]|\\.|"(?!""))*"""', re.DOTALL)
TOLD_BY_TREES = re.compile(r"sleep|\bprint\b|opentelemetry\.sdk")
DUMPING_GROUNDS = re.compile(r"_*(utils?|helpers?|common|base|misc)")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@dataclass(frozen=True)
class Facts:
    """What the rules ask of a file. Its tree is not kept: all of them together would slow every test after this one."""

    lines: int
    functions: dict[str, int]
    """Dotted name -> length; of files that may have a long one."""
    imports: list[tuple[int, str]]
    relative: list[int]
    prints: list[int]
    sleepers: set[str]


@functools.cache
def facts_of(path: Path) -> Facts:
    text = path.read_text("utf-8")
    lines = text.splitlines()
    # Of most files nothing is asked that only their trees tell: to make those, and go through them, takes longest.
    asked = TOLD_BY_TREES.search(text) is not None
    tree = ast.parse(text if asked or may_be_long(text) else "")
    found = [*functions(tree)]
    nodes = [*ast.walk(tree)] if asked else []
    called = [*calls(nodes)]
    return Facts(
        lines=len(lines),
        functions={name: length(node) for name, node in found},
        imports=[*imports(nodes)],
        relative=[number for number, line in enumerate(lines, 1) if RELATIVE.match(line)],
        prints=[line for line, name, _ in called if name in {"print", "builtins.print"}],
        sleepers=sleepers(called, found),
    )


def may_be_long(text: str) -> bool:
    """Whether from some `def` to the next line that stands as far to the left, or further, there are too many.

    What stands in texts of several lines is none of the file's own, and is left out.
    """
    text = TEXTS.sub(lambda found: "\n" * found[0].count("\n") + ")", text)
    open_ones: list[tuple[int, int]] = []
    for number, line in enumerate([*text.splitlines(), "end"], 1):
        stripped = line.lstrip()
        if not stripped or stripped[0] in ")]}#":
            continue
        left = len(line) - len(stripped)
        while open_ones and open_ones[-1][0] >= left:
            if number - open_ones.pop()[1] > FUNCTION_LINES:
                return True
        if stripped.startswith(("def ", "async def ")):
            open_ones.append((left, number))
    return False


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(tree: ast.AST, inside: str = "") -> Iterator[tuple[str, Function]]:
    """Every outermost function and method by dotted name; what is nested counts with what it is nested in."""
    for block in BLOCKS:
        for node in getattr(tree, block, ()):
            if isinstance(node, Function):
                yield f"{inside}{node.name}", node
            elif isinstance(node, ast.ClassDef):
                yield from functions(node, f"{inside}{node.name}.")
            elif isinstance(node, ast.AST):
                yield from functions(node, inside)


def length(function: Function) -> int:
    """Lines from `def` to the end. A docstring is free: a rule on code must not make documentation dear."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def imports(nodes: Sequence[ast.AST]) -> Iterator[tuple[int, str]]:
    """Every dotted name that the module imports, inside functions too."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def calls(nodes: Sequence[ast.AST]) -> Iterator[tuple[int, str, ast.Call]]:
    """Every call of a plain or dotted name; what an import renamed goes by its own name."""
    renamed: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            renamed |= {alias.asname or alias.name: module + alias.name for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.Call):
            head, dot, rest = dotted(node.func).partition(".")
            yield node.lineno, renamed.get(head, head) + dot + rest, node


def dotted(node: ast.expr) -> str:
    """`a.b.c` as it stands; "" before the dots of what begins otherwise, as `f().c` does."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    parts.append(node.id if isinstance(node, ast.Name) else "")
    return ".".join(reversed(parts))


def sleepers(called: Sequence[tuple[int, str, ast.Call]], found: Sequence[tuple[str, Function]]) -> set[str]:
    """The functions that sleep. `asyncio.sleep(0)` does not: it only yields."""
    lines = [
        line
        for line, name, call in called
        if name == "time.sleep"
        or (name == "asyncio.sleep" and [ast.unparse(argument) for argument in call.args] != ["0"])
    ]
    spans = [(name, range(node.lineno, (node.end_lineno or 0) + 1)) for name, node in found]
    return {next((name for name, span in spans if line in span), "<module>") for line in lines}


def test_no_module_is_too_long() -> None:
    lengths = {place(path): facts_of(path).lines for path in files(*EVERYTHING)}
    assert {name: lines for name, lines in lengths.items() if lines > MODULE_LINES} == LONG_MODULES


def test_no_function_is_too_long() -> None:
    lengths = {
        f"{place(path)}::{name}": lines
        for path in files(*EVERYTHING)
        for name, lines in facts_of(path).functions.items()
    }
    assert {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES} == LONG_FUNCTIONS


def test_the_library_does_not_print() -> None:
    found = [f"{place(path)}:{line}" for path in files(*LIBRARY) for line in facts_of(path).prints]
    assert not found, f"the library logs: {', '.join(found)}"


def test_neither_library_nor_tests_sleep() -> None:
    found = {f"{place(path)}::{name}" for path in files(*LIBRARY, "tests") for name in facts_of(path).sleepers}
    assert found == set(SLEEPERS)


def test_modules_are_named_after_what_they_do() -> None:
    found = [
        place(path)
        for path in files(*EVERYTHING)
        if any(DUMPING_GROUNDS.fullmatch(part) for part in path.relative_to(ROOT).with_suffix("").parts)
    ]
    assert not found, f"say what is in it: {', '.join(found)}"


def test_imports_are_absolute() -> None:
    found = [f"{place(path)}:{line}" for path in files(*EVERYTHING) for line in facts_of(path).relative]
    assert not found, f"relative imports: {', '.join(found)}"


def test_only_the_testing_kit_and_the_set_up_know_the_opentelemetry_sdk() -> None:
    found = [
        f"{place(path)}:{line}"
        for path in files(*LIBRARY)
        if not place(path).startswith("flows/testing/") and place(path) != "flows/telemetry.py"
        for line, name in facts_of(path).imports
        if f"{name}.".startswith("opentelemetry.sdk.")
    ]
    assert not found, f"opentelemetry-api is all that users must have: {', '.join(found)}"


def test_public_names_and_their_methods_have_docstrings() -> None:
    assert not [bare for name in flows.__all__ for bare in without_docstring(name)]


def without_docstring(name: str) -> Iterator[str]:
    thing = getattr(flows, name)
    if not (inspect.isclass(thing) or inspect.isroutine(thing)) or not thing.__module__.startswith("flows"):
        return  # a constant or an alias: it has no docstring of its own
    # Not inherited, and not the signature that `dataclass` writes where there is none.
    own = thing.__dict__.get("__doc__") if inspect.isclass(thing) else thing.__doc__
    if not own or own.startswith(f"{name}("):
        yield name
    for attribute, value in vars(thing).items() if inspect.isclass(thing) else ():
        is_member = inspect.isroutine(value) or isinstance(value, property | classmethod | staticmethod)
        if is_member and not attribute.startswith("_") and not inspect.getdoc(getattr(thing, attribute)):
            yield f"{name}.{attribute}"
