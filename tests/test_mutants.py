"""The mutants that `make mutate` plants: small, complete, and nothing that only a reader sees."""

import io
import subprocess
import sys
from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest

from executors.redis import _scripts
from tests.executors.redis.servers import shared
from tools import planting, sayings, verdicts
from tools.judging import FOUND, HUNG, LATE, SURVIVED, Case, Judge, Turn
from tools.mutants import lua_mutants, python_mutants
from tools.mutate import TESTS, drawn, mutants_of
from tools.mutation_page import PAGE, Result, interval, reasons_in, written
from tools.planting import ROOT
from tools.replaying import ReplayJudge
from tools.verdicts import Verdicts

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


def test_a_verdict_holds_while_the_file_and_the_tests_behind_it_are_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdicts, "ROOT", tmp_path)
    tests = tmp_path / "test_one.py", tmp_path / "test_other.py"
    for test in tests:
        test.write_text("def test_it():\n    pass\n")
    first, second, third = list(python_mutants(SOURCE))[:3]

    def known() -> Verdicts:
        verdicts._state.cache_clear()
        verdicts._source_of.cache_clear()
        return Verdicts("module.py", ("test_one.py", "test_other.py"), tmp_path / "kept")

    known().add(Case("module.py", first), FOUND, "test_one.py::test_it")
    known().add(Case("module.py", second), SURVIVED, "")
    assert [known().of(mutant) for mutant in (first, second, third)] == [FOUND, SURVIVED, None]
    tests[0].write_text("def test_it():\n    pass\n\n\ndef test_more():\n    pass\n")
    assert [known().of(mutant) for mutant in (first, second)] == [FOUND, None], "a survivor met all of them"
    tests[0].write_text("def test_it():\n    assert True\n")
    assert known().of(first) is None
    assert (known().hint(first), known().hint(second)) == ("test_one.py::test_it", "")
    verdicts._state.cache_clear()
    verdicts._source_of.cache_clear()


def test_reasons_stay_with_their_survivors_on_the_page() -> None:
    made = list(python_mutants(SOURCE))[:4]
    text, left = written("# Title\n\nWords.\n", [Result("a.py", 9, 9, 9, tuple(made[:2]))])
    assert [mutant for _, mutant in left] == made[:2]
    assert text.startswith("# Title\n\nWords.\n")
    assert "| `a.py` | 9 | 9 | 7 | 0 | 0 | 77.8% |" in text
    for mutant in made[:2]:
        text = text.replace(f"| `{mutant.change}` |  |", f"| `{mutant.change}` | it is so |")
    text, left = written(text, [Result("b.py", 1, 1, 1, ()), Result("a.py", 9, 9, 9, tuple(made[1:3]))])
    assert [mutant for _, mutant in left] == [made[2]]
    reasons = {change: reason for (_, change), reason in reasons_in(text)["a.py"].items()}
    assert reasons == {made[1].change: "it is so", made[2].change: ""}
    assert "| `b.py` | 1 | 1 | 1 | 0 | 0 | 100.0% |" in text


def test_the_share_of_all_scripts_is_told_with_its_certainty() -> None:
    text, _ = written(
        "", [Result("a.lua", 90, 30, 30, ()), Result("b.lua", 110, 70, 70, ()), Result("c.py", 9, 9, 9, ())]
    )
    assert (
        "All scripts together: 100 of 100 found, 0 alike: 100.0%; with 95 % certainty 96.3% to 100.0% of all 200."
        in text
    )
    survived = tuple(list(python_mutants(SOURCE))[:4])
    text, _ = written("", [Result("a.lua", 90, 30, 30, survived, 3, 2)])
    assert "| `a.lua` | 90 | 30 | 26 | 2 | 3 | 96.3% |" in text
    assert interval(90, 100) == pytest.approx((0.826, 0.945), abs=0.001)
    text, _ = written("", [Result("c.py", 9, 9, 9, ())])
    again, _ = written(text, [Result("c.py", 9, 9, 9, ())])
    assert again == text


def test_of_scripts_a_share_is_drawn_that_grows_with_the_share() -> None:
    script = "".join(f"local n{number} = {number} + 1\n" for number in range(200))
    made = list(lua_mutants(script))
    some, more = (drawn("a.lua", made, share) for share in (0.3, 0.6))
    assert 0.2 < len(some) / len(made) < 0.4
    assert 0.5 < len(more) / len(made) < 0.7
    assert set(some) < set(more)
    assert drawn("a.py", made, 0.1) == made


def test_a_script_is_put_together_with_a_mutant_of_one_of_its_parts() -> None:
    planter = planting.Scripts()
    plain = planter.texts("{ 1, 2 }")
    assert all(b"local moment = { 1, 2 }" in text for text in plain.values())
    mutant = next(one for one in mutants_of("executors/redis/lua/limits.lua") if one.line > 10)
    made = {
        name: planter.text("executors/redis/lua/limits.lua", mutant.text, "{ 1, 2 }", name)
        for name in ("exchange", "beat", "retire")
    }
    others = {name for name, text in made.items() if text != plain[name]}
    assert "exchange" in others
    assert others.isdisjoint({"beat", "retire"}), "they have no limits in them"


def test_what_is_recorded_calls_each_script_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    planter = planting.Scripts()
    with monkeypatch.context() as patch:
        patch.setattr(_scripts, "OFTEN", _scripts.OFTEN)
        planter.put_clock("{ 1, 2 }")
        assert all(_scripts.script(name).library is None for name in _scripts.names())
    planter.texts("{ 1, 2 }")
    assert _scripts.script("exchange").library is not None


def test_what_a_test_said_is_said_again_to_a_mutant() -> None:
    server = shared()
    text = b"return redis.call('INCRBY', KEYS[1], ARGV[1])"
    name = sayings.load(server, text)
    asked = b"*5\r\n$7\r\nEVALSHA\r\n$40\r\n%b\r\n$1\r\n1\r\n$3\r\nkey\r\n$1\r\n2\r\n" % name
    said = sayings.Recording((asked,), (sayings.steady(asked, [2]),), (1,))

    def told(mutant: bytes) -> object:
        return sayings.difference(server, said, sayings.Names(server, {"it": name}, {"it": mutant}.get))

    try:
        assert told(text) is None
        assert told(b"-- It means the same.\n" + text) is None
        assert told(b"return redis.call('DECRBY', KEYS[1], ARGV[1])") == (asked, said.answers[0], [-2])
        with pytest.raises(sayings.NotTakenError):
            told(b"return return")
    finally:
        server.ask("FLUSHALL")


CASE = Case("module.py", next(python_mutants(SOURCE)))
TWICE = [
    ([FOUND, FOUND], FOUND),
    ([FOUND, LATE], HUNG),
    ([LATE, FOUND], FOUND),
    ([LATE, LATE], HUNG),
    ([SURVIVED], SURVIVED),
    ([FOUND, SURVIVED], None),
    ([LATE, SURVIVED], None),
]
"""What the tests say, the one that finds the mutant once more; and what is made of it. None: the test counts no more,
and the others are asked.
"""


@pytest.mark.parametrize(("words", "verdict"), TWICE)
def test_a_test_finds_a_mutant_if_it_does_so_twice(
    words: list[str], verdict: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, str]] = []
    planter: Any = SimpleNamespace(place_of=lambda file, mutant: "place")
    trials: Any = None
    judge = Judge(planter, [CASE], 1, trials, lambda case, word, by: told.append((word, by)))
    monkeypatch.setattr("os.wait", lambda: (7, 0))
    turns = deque([Turn(CASE)])
    for word in words:
        pipe: IO[bytes] = io.BytesIO(f"{word} {'' if word == SURVIVED else 'test'}".encode())
        judge._note({7: (turns.popleft(), pipe)}, {"test": 0}, turns)
    assert told == ([] if verdict is None else [(verdict, "" if verdict == SURVIVED else "test")])
    assert list(turns) == ([Turn(CASE, without=frozenset(("test",)))] if verdict is None else [])


@pytest.mark.parametrize(("words", "verdict"), TWICE)
def test_so_does_one_that_runs_on_a_server(
    words: list[str], verdict: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody: Any = None
    judge = ReplayJudge(nobody, [], nobody, nobody, nobody)
    asked = iter(words)
    monkeypatch.setattr(judge, "_asked", lambda *given: (next(asked), 0))
    session: Any = SimpleNamespace(items=[SimpleNamespace(nodeid="test")])
    assert judge._found_by(session, CASE, [0]) == (verdict or SURVIVED, "" if verdict in (None, SURVIVED) else "test")
    assert judge._found_by(session, CASE, []) == (SURVIVED, "")


def test_a_watch_tells_work_and_sleep_from_standing_in_line() -> None:
    watched = "import os, time; from tools.waiting import Watch; Watch(lambda: os._exit(3)).begin({}); {}"
    works = "[0 for zero in iter(int, 1) if zero]"
    ways = ("60, 0.1", "time.sleep(100)"), ("0.1, 60", works), ("60, 60", "time.sleep(0.3)")
    begun = [subprocess.Popen([sys.executable, "-c", watched.format(*way)], cwd=ROOT) for way in ways]
    ends = [process.wait() for process in begun]
    assert ends == [3, 3, 0]
