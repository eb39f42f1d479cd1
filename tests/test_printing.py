"""The one way to print: what files hold cannot steer a terminal, at no exit."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from replay.cli import main
from replay.cli.progress import Bar
from replay.errors import Problem, TraceError
from replay.printable import printable, printable_lines
from tests import run_fixture

# An escape sequence, controls of C0 and C1, and marks that turn the direction of writing.
NASTY = "\x1b[2J\x1b]0;title\x07 \x9b31m \x85 \u202egnp.exe\u2066 \u200b\u2028 \x7f"
STEERING = set("\x1b\x07\x9b\x85\u202e\u2066\u200b\u2028\x7f\r\b")
SAMPLE = Path(__file__).parents[1] / "traces" / "chat-small.jsonl"
ROW = {"timestamp": 0, "input_length": 512, "output_length": 5, "hash_ids": [1]}


def shown(*arguments: object, code: int | None = 0, **options: object) -> str:
    """Return all that a command prints, none of which may steer."""
    done = CliRunner().invoke(main, [str(one) for one in arguments], **options)
    assert code is None or done.exit_code == code, done.output
    check(done.stdout + done.stderr)
    return done.stdout + done.stderr


def check(text: str) -> None:
    assert not STEERING & set(text), sorted(STEERING & set(text))


def lines(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose strings and notes hold everything."""
    made = run_fixture.manifest(notes=[NASTY], argv=[NASTY])
    made["trace"] |= {"name": NASTY, "notes": [NASTY], "path": NASTY}
    return run_fixture.write(tmp_path_factory.mktemp("nasty") / "run", made)


@given(st.text())
def test_what_is_printable_stays_and_nothing_else_gets_through(text):
    got = printable(text)
    assert got.isprintable()
    assert (got == text) == text.isprintable()
    assert printable_lines(text).replace("\n", "").replace("\t", "").isprintable()


def test_one_problem_is_one_line():
    error = TraceError([Problem(f"a\n{NASTY}", f"bad\nError: forged {NASTY}", 3)])
    assert error.message.count("\n") == 0
    check(error.message)


def test_errors_about_a_row_of_a_file(tmp_path):
    path = lines(tmp_path / "t.jsonl", ROW, {**ROW, "input_length": NASTY})
    assert "\\x1b[2J" in shown("describe", path, code=2)
    path = lines(tmp_path / "t.jsonl", {NASTY: 1})
    assert "\\x1b[2J" in shown("describe", path, code=2)


def test_errors_about_a_path(tmp_path):
    path = tmp_path / f"{NASTY}.jsonl"
    for command in ("describe", "check", "run", "verify", "report", "explain 3", "query x"):
        name, *rest = command.split()
        assert "\\x1b[2J" in shown(name, path, *rest, code=2)


def test_hints_that_name_files(tmp_path):
    lines(tmp_path / f"trace{NASTY[:4]}.jsonl", ROW)
    assert "did you mean" in shown("describe", tmp_path / "trace.jsonl", code=2)


def test_notes_cells_and_paths_of_a_run(run):
    for format in ("table", "md"):
        said = shown("report", run, "summary", "--format", format)
        assert "\\x1b[2J" in said
    assert "\\x1b[2J" in shown("query", run, "SELECT trace_name FROM run")


@pytest.mark.parametrize("format", ["table", "md"])
def test_column_names_and_values_of_a_query(run, format):
    quoted = NASTY.replace('"', '""')
    sql = f"SELECT 'a{NASTY}' AS \"{quoted}\", 1 AS b UNION ALL SELECT 'x', 2"
    for one in (sql, f'SELECT 1 AS "{quoted}", 2 AS b'):
        assert "\\x1b[2J" in shown("query", run, one, "--format", format)


def test_errors_of_the_database(run):
    assert "\\x1b[2J" in shown("query", run, f'SELECT "{NASTY}" FROM requests', code=2)


def test_columns_that_are_lost_and_kept(tmp_path):
    path = lines(tmp_path / "t.jsonl", {**ROW, NASTY: "x"}, {**ROW, NASTY: NASTY})
    assert "\\x1b[2J" in shown("convert", path, "-o", tmp_path / "o.jsonl")
    shown("run", path, "--untimed", "-o", tmp_path / "r")
    shown("query", tmp_path / "r", "FROM requests")
    shown("query", tmp_path / "r", "DESCRIBE requests")


def test_names_of_hardware_files(tmp_path):
    text = shown("list", "gpus", "h100-sxm", "--format", "json")
    assert "h100-sxm" in text
    copy = tmp_path / "gpu.yaml"
    source = Path(__file__).parents[1] / "hardware" / "gpus" / "h100-sxm.yaml"
    shutil.copy(source, copy)
    copy.write_text(copy.read_text().replace("name: h100-sxm", 'name: "\\e[2Jname"', 1))
    shown("list", "gpus", copy, code=None)
    shown("run", SAMPLE, "--gpu", copy, "--dry-run", code=None)


def test_what_the_debugger_is_told(tmp_path):
    path = tmp_path / f"{NASTY}.jsonl"
    assert "Traceback" in shown("--debug", "describe", path, code=2)


def test_usage_errors():
    assert "\\x1b[2J" in shown("describe", f"--{NASTY}", code=2)
    shown("list", NASTY, code=2)


def test_titles_of_the_progress_bar(monkeypatch, capfd):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    bar = Bar("start", patience_s=-1)
    bar.hook(f"Reading {NASTY} [bold]", 1, 2)
    assert bar._display is not None
    description = bar._display.tasks[0].description
    bar.close()
    check(description)
    assert "[bold]" in description


def on_a_terminal(*arguments: object) -> str:
    """Return what a command writes to a terminal."""
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "replay", "--no-color", *map(str, arguments)]
    with subprocess.Popen(command, stdout=child, stderr=subprocess.PIPE) as started:
        os.close(child)
        got = b""
        while True:
            try:
                part = os.read(parent, 65536)
            except OSError:  # the terminal is gone with the process
                break
            if not part:
                break
            got += part
        started.wait()
    os.close(parent)
    return got.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("format", ["csv", "json", "jsonl", "table", "md"])
def test_data_on_a_terminal_cannot_steer_it(run, format):
    text = on_a_terminal("query", run, f"SELECT '{NASTY}' AS a, 1 AS b", "--format", format)
    check(text)
    assert "gnp.exe" in text


@pytest.mark.parametrize("format", ["csv", "json", "jsonl", "parquet"])
def test_data_in_files_stays_exact(run, tmp_path, format):
    import polars as pl

    target = tmp_path / f"o.{format}"
    shown("query", run, f"SELECT '{NASTY}' AS a", "-o", target)
    read = {
        "csv": lambda: pl.read_csv(target)["a"][0],
        "json": lambda: json.loads(target.read_text())[0]["a"],
        "jsonl": lambda: json.loads(target.read_text())["a"],
        "parquet": lambda: pl.read_parquet(target)["a"][0],
    }[format]
    assert read() == NASTY


def test_all_printing_goes_through_few_functions():
    """Whoever prints otherwise would let through what steers."""
    cli = Path(__file__).parents[1] / "replay" / "cli"
    for path in sorted(cli.glob("*.py")):
        if path.name not in ("output.py", "terminal.py", "__init__.py"):
            assert "click.echo(" not in path.read_text(), path.name
            assert "print(" not in path.read_text(), path.name
