r"""Run the Python blocks of a Markdown file: `python -m tests.markdown_blocks README.md`.

Every ```python block is executed; as in a notebook, blocks of a file share one namespace and may `await`.
A ```text or ```console block below the line `<!-- output -->` is what the Python block directly above prints;
`...` in it stands for anything. A Python block below `<!-- not run: reason -->` is left out. Tracebacks name
the line of the Markdown file.
"""

import ast
import asyncio
import contextlib
import difflib
import doctest
import inspect
import io
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

FENCE = re.compile(r"^(?P<fence>`{3,}|~{3,})(?P<language>[\w+-]*)")
NOT_RUN = re.compile(r"<!-- *not run: *(?P<reason>.*?) *-->")
OUTPUT = "<!-- output -->"


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
    """The blocks to execute, each with the block of its expected output.

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
        shown = "\n" * (block.line - 1) + block.text
        code = compile(shown, str(path), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            result = eval(code, module.__dict__)  # a coroutine if the block awaits something
            if inspect.iscoroutine(result):
                asyncio.run(result)
        if expected is not None:
            compare(f"{path.name}:{expected.line}", expected.text, printed.getvalue())


def compare(where: str, expected: str, printed: str) -> None:
    want, got = ("".join(f"{line.rstrip()}\n" for line in text.rstrip().splitlines()) for text in (expected, printed))
    if not doctest.OutputChecker().check_output(want, got, doctest.ELLIPSIS):
        difference = difflib.unified_diff(want.splitlines(), got.splitlines(), "shown", "printed", lineterm="")
        raise AssertionError(f"{where}: the output is another one\n" + "\n".join(difference))


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        run(Path(argument))
