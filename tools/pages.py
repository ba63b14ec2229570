"""What the documentation has generated: tables of states, scripts and modules, pictures of policies, commands.

``docs/conf.py`` has them written into ``docs/_generated`` before pages are read, so that no page can say anything else
than the code does. The table is made by putting each case to the machine; the pictures are of runs that were run.
"""

from __future__ import annotations

import ast
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import executors
from flows import _machine as machine
from flows._state import EFFECTS, IGNORE, ORDER_ONLY, STATE_NAMES, Commands, RunState

ENDS: Final = ("completed", "failed", "cancelled", "skipped")
POLICIES: Final = tuple(EFFECTS)
EDGES: Final = ("result", "order only", "optional")
FOLDERS: Final = (
    *("flows", "flows/_cli", "flows/_draw", "flows/testing", "executors", "executors/_leasing", "executors/_stored"),
    *("executors/memory", "executors/sqlite", "executors/redis", "executors/redis/lua", "executors/dask"),
)
_CHILD, _SIBLING, _EARLY, _PARENT = range(4)

SAID: Final = {
    ("waits", "runs"): "waits, then runs",
    ("runs", "runs"): "runs at once",
    ("failed", "failed"): "fails at once",
    ("cancelled", "cancelled"): "is cancelled at once",
    ("waits", "skipped"): "waits, then is skipped",
}
"""What becomes of a dependent while others of its children are open, and once they have completed, in words."""


def write(folder: Path) -> None:
    """Write all of them into *folder*; a file that says the same already is left alone."""
    folder.mkdir(exist_ok=True)
    made = {
        "fates.md": fates(),
        "settled.md": settled(),
        "commands.md": commands(),
        "scripts.md": scripts(),
        "modules.md": modules(),
        **pictures(),
    }
    for name, text in made.items():
        path = folder / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def fates() -> str:
    """The table of what a child's end does to a dependent that waits, by the policy and the kind of the edge."""
    rows = [("policy", "edge", *(f"child {end}" for end in ENDS))]
    for policy in POLICIES:
        result, order = ([fate(end, policy, edge) for end in ENDS] for edge in EDGES[:2])
        if result == order:
            rows.append((f"`{policy}`", "any", *result))
        else:
            rows += [(f"`{policy}`", "result", *result), (f"`{policy}`", "order only", *order)]
    same = {tuple(fate(end, policy, "optional") for end in ENDS) for policy in POLICIES}
    rows += [("any", "`optional`", *cells) for cells in same]
    return _table(rows)


def fate(end: str, policy: str, edge: str) -> str:
    """What becomes of a dependent that waits when its child comes to the *end*."""
    open_, last = (_columns(policy, edge) for _ in range(2))
    _settle(open_, _CHILD, end)
    while_others_are_open = _become(open_)
    _settle(last, _SIBLING, "completed")
    _settle(last, _EARLY, "completed")
    _settle(last, _CHILD, end)
    return SAID[while_others_are_open, _become(last)]


def settled() -> str:
    """The table of what a child's end does to a dependent in each of its states."""
    rows: list[tuple[str, ...]] = [("the dependent is", "what a child's end does to it")]
    for state in STATE_NAMES:
        changed = {
            (end, policy, edge)
            for end in ENDS
            for policy in POLICIES
            for edge in EDGES
            if _touched(state, end, policy, edge)
        }
        rows.append((f"`{state}`", "what the table above says" if changed else "nothing"))
    return _table(rows)


def _touched(state: str, end: str, policy: str, edge: str) -> bool:
    run = _columns(policy, edge)
    if state != "waiting_children":
        _settle(run, _EARLY, "failed")  # it releases the dependent
        run.state[_PARENT] = STATE_NAMES.index(state)
    _settle(run, _CHILD, end)
    _settle(run, _SIBLING, "completed")
    return STATE_NAMES[run.state[_PARENT]] != state


def _columns(policy: str, edge: str) -> RunState:
    """A child, its sibling and a job whose failure releases early, all active, with edges to one parent."""
    effect = IGNORE if edge == "optional" else EFFECTS[policy] | (ORDER_ONLY if edge == "order only" else 0)
    run = RunState(
        size=4,
        state=bytearray(4),
        pending=[0, 0, 0, 3],
        ordinal=[0] * 4,
        edges=[[_PARENT], [_PARENT], [_PARENT], []],
        effects={_CHILD: [effect], _EARLY: [EFFECTS["continue"]]},
        delays={},
        limits=[1] * 4,
    )
    machine.begin(run, Commands())
    machine.grant(run, (_CHILD, _SIBLING, _EARLY))
    return run


def _settle(run: RunState, job: int, end: str) -> None:
    out = Commands()
    machine.settle(run, job, STATE_NAMES.index(end), out)
    while machine.sweep(run, 100, out):
        pass


def _become(run: RunState) -> str:
    name = STATE_NAMES[run.state[_PARENT]]
    return {"waiting_children": "waits", "waiting": "runs"}.get(name, name)


def pictures() -> dict[str, str]:
    """A picture of each failure policy, by file name: how a run with one failing job stands when it has worked."""
    return {f"policy-{policy}.svg": _picture(policy) for policy in POLICIES}


def _picture(policy: str) -> str:
    import flows

    gate = threading.Event()

    @flows.task(name="breaks")
    def breaks() -> None:
        raise ValueError("out of order")

    @flows.task(name="works")
    def works() -> None:
        gate.wait()

    def parent(children: flows.Children) -> None:
        pass

    for name in ("parent", "above"):
        flows.task(parent, name=name)
    job = flows.Job
    broken = job("breaks", opts=flows.Opts(on_failure=policy))  # type: ignore[arg-type]
    run = flows.submit(job("above", children=[job("parent", children=[broken, job("works")])]))
    if fate("failed", policy, "result") not in ("fails at once", "runs at once"):
        gate.set()  # the parent waits for the rest
    for event in run.events():
        if event.job == "above" and event.kind in ("completed", "failed", "skipped"):
            break
    picture = run.to_svg()
    gate.set()
    run.wait("1m")
    return picture


def commands() -> str:
    """The reference of the command line: what each command says of itself when asked for help."""
    import typer.main

    from flows._cli._app import app

    return "\n".join(_command((), typer.main.get_command(app)))


def _command(path: tuple[str, ...], command: Any) -> Iterator[str]:
    from typer.testing import CliRunner

    from flows._cli._app import app

    if path:
        yield f"{'#' * (len(path) + 1)} `flows {' '.join(path)}`\n"
    shown = CliRunner().invoke(app, [*path, "--help"], prog_name="flows", terminal_width=84)
    if shown.exit_code:
        raise RuntimeError(f"flows {' '.join(path)} --help: exit code {shown.exit_code}")
    text = "\n".join(line.rstrip() for line in shown.output.strip().splitlines())
    yield f"```text\n{text}\n```\n"
    for name, one in getattr(command, "commands", {}).items():
        yield from _command((*path, name), one)


def scripts() -> str:
    """The table of the scripts by which a Redis is spoken to, as the first comment of each says it."""
    rows: list[tuple[str, ...]] = [("script", "what it does")]
    for path in sorted((Path(executors.__file__).parent / "redis" / "lua").glob("*.lua")):
        comment, keys, _ = path.read_text("utf-8").partition("-- KEYS:")
        if keys:
            rows.append((f"`{path.stem}`", " ".join(line.lstrip("- ") for line in comment.splitlines())))
    return _table(rows)


def modules() -> str:
    """What each module says of itself in its first line, a table a folder."""
    root = Path(executors.__file__).parent.parent
    parts = []
    for folder in FOLDERS:
        paths = sorted(path for path in (root / folder).iterdir() if path.suffix in (".py", ".lua"))
        rows = [(f"`{path.name}`", _first_line(path.read_text("utf-8"), path.suffix)) for path in paths]
        parts.append(f"### `{folder}/`\n\n{_table([('module', 'what it says of itself'), *rows])}")
    return "\n".join(parts)


def _first_line(source: str, suffix: str) -> str:
    """Of the docstring, or of the comment that a script begins with, which ends with its sentence."""
    if suffix == ".py":
        return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
    lines = itertools.takewhile(lambda line: line.startswith("-- "), source.splitlines())
    return " ".join(line[3:] for line in lines).partition(". ")[0].rstrip(".") + "."


def _table(rows: list[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]) + "\n"
