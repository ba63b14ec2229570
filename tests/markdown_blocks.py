r"""Run the Python blocks of a Markdown file: `python -m tests.markdown_blocks README.md`.

Every ```python block is executed; as in a notebook, blocks of a file share one namespace and may `await`.
A ```text or ```console block below the line `<!-- output -->` is what the Python block directly above prints;
`...` in it stands for anything. A Python block below `<!-- not run: reason -->` is left out, one below
`<!-- file: shop.py -->` is written to that file of the working folder instead, from where it can be imported.
A ```console block below `<!-- shell -->` is given to a shell: each line that begins with `$ ` is a command, which must
succeed, and what stands below it is what it writes, errors included; times, durations and ids may be others.
Tracebacks name the line of the Markdown file.
"""

import ast
import asyncio
import contextlib
import difflib
import doctest
import inspect
import io
import itertools
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

FENCE = re.compile(r"^(?P<fence>`{3,}|~{3,})(?P<language>[\w+-]*)")
NOT_RUN = re.compile(r"<!-- *not run: *(?P<reason>.*?) *-->")
FILE = re.compile(r"<!-- *file: *(?P<name>[\w./-]+) *-->")
OUTPUT = "<!-- output -->"
SHELL = "<!-- shell -->"
NEXT = "-- the next command --"
SHELL_SECONDS = 200
VARYING = re.compile(r"\b(\d\d:\d\d:\d\d|[0-9a-f]{32}|\d+(\.\d+)? ?(µs|ms|s|min|h))\b")


@dataclass(frozen=True, slots=True)
class Block:
    language: str
    line: int  # of its first line of content
    text: str
    label: str  # the nearest line above its fence that is not blank


def blocks(markdown: str) -> list[Block]:
    found = []
    lines = markdown.splitlines()
    number, label = 0, ""
    while number < len(lines):
        line = lines[number]
        number += 1
        opening = FENCE.match(line)
        if opening is None:
            label = line.strip() or label
            continue
        first = number
        while number < len(lines) and lines[number].rstrip() != opening["fence"]:
            number += 1
        if number == len(lines):
            raise ValueError(f"line {first}: this block is never closed")
        found.append(Block(opening["language"], first + 1, "\n".join(lines[first:number]) + "\n", label))
        number, label = number + 1, ""
    return found


def script(markdown: str) -> list[tuple[Block, Block | None]]:
    """The blocks to execute, write or give to a shell, each with the block of its expected output.

    Raises:
        ValueError: An output block follows nothing that is run, or a block opts out without a reason.
    """
    steps: list[tuple[Block, Block | None]] = []
    previous_ran = False
    for block in blocks(markdown):
        if block.language == "python":
            opt_out = NOT_RUN.fullmatch(block.label)
            if opt_out and not opt_out["reason"]:
                raise ValueError(f"line {block.line}: say why this block is not run")
            previous_ran = not opt_out
            if previous_ran:
                steps.append((block, None))
                previous_ran = FILE.fullmatch(block.label) is None
        elif block.label == SHELL:
            if block.language != "console" or not block.text.startswith("$ "):
                raise ValueError(f"line {block.line}: a console block that begins with a command")
            steps.append((block, None))
            previous_ran = False
        elif block.label == OUTPUT:
            if block.language not in {"text", "console"} or not previous_ran:
                raise ValueError(f"line {block.line}: output of a block that is not run")
            steps[-1] = (steps[-1][0], block)
            previous_ran = False
        else:
            previous_ran = False
    return steps


def run(path: Path) -> None:
    """Execute the blocks of *path*.

    Raises:
        AssertionError: What a block printed is not what the file shows.
        BaseException: Whatever a block raised.
    """
    # A module that can be found by name: handlers' and models' annotations are resolved there.
    module = ModuleType(f"markdown_{path.stem}")
    sys.modules[module.__name__] = module
    for block, expected in script(path.read_text("utf-8")):
        if block.language == "console":
            shell(path.name, block)
            continue
        if named := FILE.fullmatch(block.label):
            Path(named["name"]).write_text(block.text, "utf-8")
            sys.path[:0] = [] if os.getcwd() in sys.path else [os.getcwd()]
            continue
        shown = "\n" * (block.line - 1) + block.text
        code = compile(shown, str(path), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            result = eval(code, module.__dict__)  # a coroutine if the block awaits something
            if inspect.iscoroutine(result):
                asyncio.run(result)
        if expected is not None:
            compare(f"{path.name}:{expected.line}", expected.text, printed.getvalue())


def shell(page: str, block: Block) -> None:
    """Give the commands of *block* to one shell, and compare what each writes with what stands below it."""
    commands: list[tuple[int, str]] = []
    outputs: list[list[str]] = []
    for number, line in enumerate(block.text.splitlines(), block.line):
        if line.startswith("$ "):
            commands.append((number, line[2:]))
            outputs.append([])
        elif not outputs[-1] and commands[-1][1].endswith("\\"):
            commands[-1] = (commands[-1][0], f"{commands[-1][1]}\n{line}")
        else:
            outputs[-1].append(line)
    text = "".join(f"{command}\necho '{NEXT}' $?\n" for _, command in commands)
    printed = re.split(rf"{NEXT} (\d+)\n", answer_of_a_shell(text))
    for (number, command), shown, wrote, code in zip(commands, outputs, printed[::2], printed[1::2], strict=False):
        assert code == "0", f"{page}:{number}: {command}: exit code {code}\n{wrote}{logs()}"
        compare(f"{page}:{number}", masked("\n".join(shown)), masked(wrote))
    assert len(printed) == 2 * len(commands) + 1, f"{page}:{block.line}: the shell ended early: {printed[-1]}{logs()}"


def logs() -> str:
    """What commands have written to logs of theirs, for whoever asks why one of them failed."""
    return "".join(f"\n{path}:\n{path.read_text('utf-8')[-3000:]}" for path in sorted(Path().glob("*.log")))


def answer_of_a_shell(text: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    with subprocess.Popen(
        ["sh", "-c", text],
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            return process.communicate(timeout=SHELL_SECONDS)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with all that it has put in the background
            raise


def masked(text: str) -> str:
    """*text* without what is another each time: times, ids, durations, widths. Lines that begin with a time: sorted."""
    lines = [re.sub(" +", " ", VARYING.sub("~", line)) for line in text.splitlines()]
    sorted_by_run = itertools.groupby(lines, lambda line: line.startswith("~ "))
    return "\n".join(line for timed, group in sorted_by_run for line in (sorted(group) if timed else group))


def compare(where: str, expected: str, printed: str) -> None:
    want, got = ("".join(f"{line.rstrip()}\n" for line in text.rstrip().splitlines()) for text in (expected, printed))
    if not doctest.OutputChecker().check_output(want, got, doctest.ELLIPSIS):
        difference = difflib.unified_diff(want.splitlines(), got.splitlines(), "shown", "printed", lineterm="")
        raise AssertionError(f"{where}: the output is another one\n" + "\n".join(difference))


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        run(Path(argument))
