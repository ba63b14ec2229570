"""Extract, transform, load: the standard library's e-mail package, file by file, into a table.

The files are found on every machine that has Python. Which there are is known only at run time, so `each` fans out
over them; a file that cannot be read is left out, and one database job loads what the others found.
"""

import ast
import email
import sqlite3
import tempfile
from pathlib import Path

import flows
from flows import Backoff, Queue, each

SOURCE = Path(email.__file__).parent
TARGET = Path(tempfile.mkdtemp()) / "functions.db"

disk = Queue("disk", attempts=3, backoff=Backoff.fixed("10ms"))


@flows.task
def list_files(folder: Path) -> list[Path]:
    return [*sorted(folder.glob("*.py")), folder / "no_such_file.py"]


@flows.task(queue=disk, give_up_on=FileNotFoundError)
def extract(path: Path) -> str:
    return path.read_text("utf-8")


@flows.task(on_failure="remove")  # what cannot be had is left out of the list
def transform(path: Path, source: str) -> list[tuple[str, str, int]]:
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return [(path.name, node.name, (node.end_lineno or node.lineno) - node.lineno + 1) for node in functions]


@flows.task(queue=disk)
def load(tables: list[list[tuple[str, str, int]]]) -> int:
    with sqlite3.connect(TARGET) as database:
        # Written anew each time, in one transaction: a retry does not load anything twice.
        database.execute("create table if not exists functions (file text, name text, lines integer)")
        database.execute("delete from functions")
        rows = [row for table in tables for row in table]
        database.executemany("insert into functions values (?, ?, ?)", rows)
    database.close()
    return len(rows)


@flows.flow
def etl(folder: Path) -> flows.Job[int]:
    tables = each(lambda path: transform(path, extract(path).out), list_files(folder).out, limit=8)
    return load(tables.out)


run = flows.execute(etl(SOURCE))
files = run.jobs["list_files"].value
with sqlite3.connect(TARGET) as database:
    longest = database.execute("select file, name, lines from functions order by lines desc limit 3").fetchall()
database.close()
print(f"{run.value} functions in {len(files)} files; the longest:", *longest, sep="\n  ")

missing = next(job for job in run.jobs.values() if job.state == "failed" and job.task == "extract")
print(missing.error)
assert run.state == "completed"
assert run.value > 100
assert missing.error is not None
assert missing.error.type == "FileNotFoundError"
assert len(missing.attempts) == 1  # not worth another try
assert len(run.jobs["transform"].value) == len(files) - 1  # the file that is not there is left out
