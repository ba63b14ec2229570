"""The mutants that `make mutate` plants: small, complete, and nothing that only a reader sees."""

from tools.mutants import lua_mutants, python_mutants
from tools.mutate import TESTS
from tools.mutation_page import PAGE

SOURCE = '''
"""A module."""
LIMIT: int = 3


def within(value: int, *, strict: bool = False) -> bool:
    """Whether it fits."""
    if value < 0 and not strict:
        raise ValueError("below 0")
    left = LIMIT - value
    return left >= 0
'''


def test_each_mistake_is_planted_once_and_says_what_it_is() -> None:
    made = list(python_mutants(SOURCE))
    changes = [(mutant.line, mutant.function, mutant.change) for mutant in made]
    assert len(set(changes)) == len(changes)
    assert set(changes) >= {
        (3, "", "3 -> 4"),
        (6, "within", "False -> True"),
        (8, "within", "value < 0 -> value <= 0"),
        (8, "within", "value < 0 -> value >= 0"),
        (8, "within", "value < 0 and (not strict) -> value < 0 or not strict"),
        (8, "within", "value < 0 and (not strict) -> value < 0"),
        (8, "within", "not strict -> strict"),
        (9, "within", "raise ValueError('below 0') -> pass"),
        (10, "within", "left = LIMIT - value -> pass"),
        (10, "within", "LIMIT - value -> LIMIT + value"),
        (11, "within", "return left >= 0 -> return None"),
        (11, "within", "left >= 0 -> left > 0"),
    }
    for mutant in made:
        compile(mutant.text, "mutant", "exec")
    assert {mutant.change for mutant in made if mutant.loaded} == {"3 -> 4", "LIMIT = 3 -> pass", "False -> True"}


def test_messages_annotations_and_docstrings_are_left_alone() -> None:
    changes = " ".join(mutant.change for mutant in python_mutants(SOURCE))
    assert "Xbelow" not in changes
    assert "Whether" not in changes
    assert "bool" not in changes


def test_a_script_is_mutated_line_by_line() -> None:
    script = "-- if 1 == 2\nlocal n = 1\nif n >= limit and ok then\n  redis.call('del', 'a == b')\nend\n"
    changes = {(mutant.line, mutant.now) for mutant in lua_mutants(script)}
    assert changes == {
        (2, "local n = 2"),
        (3, "if n > limit and ok then"),
        (3, "if n >= limit or ok then"),
        (4, "(nothing)"),
    }
    assert all(mutant.text.count("\n") == 5 for mutant in lua_mutants(script))


def test_every_file_has_its_row_in_the_table() -> None:
    page = PAGE.read_text("utf-8")
    assert all(f"| `{file}` |" in page for file in TESTS)
