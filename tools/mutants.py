"""Mutants: a source file with one small mistake in it, for tests to find.

`python_mutants` makes them from the syntax tree, `lua_mutants` from lines. A mutant says what was and what is there
now, so that a person can judge one that survives.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass

Function = ast.FunctionDef | ast.AsyncFunctionDef

_COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_SWAPPED = {"min": "max", "max": "min", "any": "all", "all": "any", "popleft": "pop", "sorted": "list"}
_DELETED = (ast.Expr, ast.Assign, ast.AugAssign, ast.Delete, ast.Raise)

_LUA = (
    *((r"==", "~="), (r"~=", "=="), (r"(?<![<>=~])<(?!=)", "<="), (r"<=", "<"), (r"(?<![<>=~])>(?!=)", ">=")),
    *((r">=", ">"), (r"\band\b", "or"), (r"\bor\b", "and"), (r"\bnot\b ", ""), (r"\btrue\b", "false")),
    *((r"\bfalse\b", "true"), (r" \+ ", " - "), (r" - ", " + "), (r"\b1\b", "2"), (r"\b0\b", "1")),
)
_LUA_STATEMENT = re.compile(r"^\s*(?:redis\.p?call\(.*\)|[\w.\[\]]+ = .*|return\b.*)$")

_LUA_FUNCTION = re.compile(r"^local function (\w+)")


@dataclass(frozen=True, slots=True)
class Mutant:
    """A file with one mistake in it.

    Attributes:
        line: Where the mistake is.
        function: The outermost function or method that it is in, by dotted name; empty: outside of functions.
        was, now: What stood there, and what does.
        text: The whole file.
        loaded: Whether it takes effect when the file is loaded, and not when a function is called.
        around: The source of the function, or of the statement, with the place in it: what says that it is the same
            mutant after a change elsewhere in the file.
    """

    line: int
    function: str
    was: str
    now: str
    text: str
    loaded: bool = False
    around: str = ""

    @property
    def change(self) -> str:
        """The mistake on one line; with the function the name of the mutant, which other changes of lines leave."""
        return " ".join(f"{self.was} -> {self.now}".split())


def python_mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of a Python module. Messages, annotations and docstrings are left alone.

    `text` is what `ast.unparse` makes of the tree, in which lines are others; `line` is that of *source*.
    """
    tree = ast.parse(source)
    _forget_annotations(tree)
    sites = list(_sites(tree, ""))
    outer = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))]
    functions = [node for body in outer for node in body if isinstance(node, Function)]
    heads = [node.args for node in functions]
    lines = source.splitlines()
    for parent, name, at, function in sites:
        holder = getattr(parent, name)
        node = holder if at is None else holder[at]
        for now in _mistakes(node, name):
            _put(parent, name, at, now)
            text = ast.unparse(ast.fix_missing_locations(tree))
            _put(parent, name, at, node)
            loaded = not function or parent in heads
            home = next((one for one in functions if function and one.lineno <= node.lineno <= _end(one)), node)
            at_line = f"{node.lineno - home.lineno}:{node.col_offset}"
            around = "\n".join([*lines[home.lineno - 1 : _end(home)], at_line])
            yield Mutant(node.lineno, function, _shown(node), _shown(now), text, loaded, around)


def lua_mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of a Lua script: an operator, a constant or a statement of a line; comments are left alone."""
    lines, function, around = source.splitlines(keepends=True), "", ""
    first = 0
    for number, line in enumerate(lines):
        begun = _LUA_FUNCTION.match(line)
        if begun:
            last = next((at for at in range(number, len(lines)) if lines[at].startswith("end")), number)
            function, first = begun[1], number
            around = "".join(lines[first : (number if line.rstrip().endswith(" end") else last) + 1])
        elif not line.startswith((" ", "end", "\n")):
            function, first, around = "", number, "".join(lines[max(0, number - 1) : number + 1])
        code = line.partition("--")[0].rstrip()
        changed = {
            code[: found.start()] + now + code[found.end() :]
            for was, now in _LUA
            for found in re.finditer(was, code)
            if code[: found.start()].count("'") % 2 == 0 and code[: found.start()].count('"') % 2 == 0
        }
        if _LUA_STATEMENT.match(code):
            changed.add("")
        for now in sorted(changed):
            text = "".join((*lines[:number], f"{now}\n", *lines[number + 1 :]))
            where = f"{around}{number - first}"
            yield Mutant(number + 1, function, code.strip(), now.strip() or "(nothing)", text, around=where)


def _end(node: ast.AST) -> int:
    last: int = getattr(node, "end_lineno", 0)
    return last


def _put(parent: ast.AST, name: str, at: int | None, node: ast.AST) -> None:
    if at is None:
        setattr(parent, name, node)
    else:
        getattr(parent, name)[at] = node


def _sites(node: ast.AST, function: str, inside: str = "") -> Iterator[tuple[ast.AST, str, int | None, str]]:
    """Each place in a tree that a node can be put into: its parent, the field, the index there, the function."""
    for name, value in ast.iter_fields(node):
        if name in ("decorator_list", "annotation") or isinstance(node, ast.JoinedStr):
            continue
        for at, child in enumerate(value) if isinstance(value, list) else ((None, value),):
            if not isinstance(child, ast.AST) or _is_left_alone(child) or (at == 0 and _is_cast(node)):
                continue
            yield node, name, at, function
            if isinstance(child, ast.ClassDef) and not function:
                yield from _sites(child, "", f"{inside}{child.name}.")
            elif isinstance(child, Function) and not function:
                yield from _sites(child, f"{inside}{child.name}", inside)
            elif not isinstance(child, ast.Raise):
                yield from _sites(child, function, inside)


def _is_left_alone(node: ast.AST) -> bool:
    """Imports, docstrings, `...`, what only type checkers see, and lists of names."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return True
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id in ("__slots__", "__all__") or _is_of_types(node.value)
    constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return constant or isinstance(node, ast.Import | ast.ImportFrom | ast.Assert)


def _is_of_types(value: ast.expr) -> bool:
    """A type variable, or another name for a type: ``Job[Any]``."""
    made = value.func if isinstance(value, ast.Call) else value
    if isinstance(made, ast.Subscript):
        return isinstance(made.value, ast.Name) and made.value.id[0].isupper()
    return isinstance(made, ast.Name) and made.id in ("TypeVar", "ParamSpec")


def _is_cast(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "cast"


def _forget_annotations(tree: ast.Module) -> None:
    """Annotations would only be noise; those of class bodies stay, as dataclasses are made of them."""
    fields = {id(item) for one in ast.walk(tree) if isinstance(one, ast.ClassDef) for item in one.body}
    for node in ast.walk(tree):
        if isinstance(node, Function):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        for name, value in ast.iter_fields(node):
            if isinstance(value, list):
                setattr(node, name, [_plain(one) if id(one) not in fields else one for one in value])


def _plain(node: ast.AST) -> ast.AST:
    if not isinstance(node, ast.AnnAssign):
        return node
    if node.value is None:
        return ast.copy_location(ast.Pass(), node)
    return ast.copy_location(ast.Assign(targets=[node.target], value=node.value), node)


def _mistakes(node: ast.AST, place: str) -> Iterator[ast.AST]:
    """What could stand in the place of *node* by mistake."""
    for made in (*_of_expressions(node), *_of_statements(node)):
        yield ast.copy_location(made, node)
    if place == "test" and not isinstance(node, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant):
        assert isinstance(node, ast.expr)
        yield ast.copy_location(ast.UnaryOp(op=ast.Not(), operand=node), node)


def _of_expressions(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(ops=ops):
            for at, op in enumerate(ops):
                for other in _COMPARED[type(op)]:
                    yield _with(node, ops=[*ops[:at], other(), *ops[at + 1 :]])
        case ast.BoolOp(op=op, values=values):
            yield _with(node, op=ast.Or() if isinstance(op, ast.And) else ast.And())
            for at in range(len(values)):
                left = values[:at] + values[at + 1 :]
                yield left[0] if len(left) == 1 else _with(node, values=left)
        case ast.BinOp(op=op) if type(op) in _COMPUTED:
            yield _with(node, op=_COMPUTED[type(op)]())
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(number) | float(number)):
            yield ast.Constant(number + 1)
        case ast.Constant(value=str(text)):
            yield ast.Constant(f"X{text}")
        case ast.Name(id=name, ctx=ast.Load()) if name in _SWAPPED:
            yield ast.Name(id=_SWAPPED[name], ctx=ast.Load())
        case ast.Attribute(attr=name, ctx=ast.Load()) if name in _SWAPPED:
            yield _with(node, attr=_SWAPPED[name])


def _of_statements(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.AugAssign(op=op) if type(op) in _COMPUTED:
            yield _with(node, op=_COMPUTED[type(op)]())
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and not value.value):
            yield ast.Return(value=ast.Constant(None))
        case ast.Continue():
            yield ast.Break()
        case ast.Break():
            yield ast.Continue()
    if isinstance(node, _DELETED) or (isinstance(node, ast.Return) and node.value is None):
        yield ast.Pass()


def _with(node: ast.AST, **changes: object) -> ast.AST:
    other = copy.copy(node)
    for name, value in changes.items():
        setattr(other, name, value)
    return other


def _shown(node: ast.AST) -> str:
    return ast.unparse(ast.fix_missing_locations(copy.deepcopy(node)))
