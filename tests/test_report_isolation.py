"""SQL in a process of its own: time and memory bind where DuckDB itself does not look."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from replay.errors import InputError
from replay.report import isolation
from replay.report.isolation import memory_of
from replay.units import parse_bytes
from tests import run_fixture

QUERY = [sys.executable, "-m", "replay", "query"]
FOREVER = "SELECT levenshtein(repeat('a', 3000000), repeat('b', 3000000))"  # one scalar function


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_fixture.write(tmp_path_factory.mktemp("bombs") / "run")


def query(run: Path, sql: str, *options: object) -> subprocess.CompletedProcess[str]:
    command = [*QUERY, str(run), "-", *map(str, options)]
    return subprocess.run(command, input=sql, capture_output=True, text=True, timeout=100)


@pytest.mark.slow
@pytest.mark.parametrize(
    "sql",
    [
        FOREVER,
        "SELECT count(*) FROM range(1000000000000)",
        "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t",
    ],
)
def test_time_is_over_when_it_is(run, tmp_path, sql):
    done = query(run, sql, "--timeout", "300ms", "-o", tmp_path / "o.csv")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: stopped after 0.3 s\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT length(repeat('x', 4000000000))",
        "SELECT string_agg(repeat('x', 1000000), '') FROM range(100000)",
        "SELECT array_agg(range) FROM range(10000000000)",
    ],
)
def test_memory_ends_where_it_is_said(run, sql):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    done = query(run, sql, "--memory", "300MiB")
    assert done.returncode == 2
    assert "--memory" in done.stderr
    assert "Traceback" not in done.stderr
    assert "SET threads" not in done.stderr
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert peak == before or peak < 1_000_000 * (1 if sys.platform == "linux" else 1000)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT " + "(" * 20_000 + "1" + ")" * 20_000,
        "SELECT * FROM (" * 20_000 + "SELECT 1" + ")" * 20_000,
        "SELECT " + "+".join(["1"] * 50_000),
    ],
    ids=("brackets", "selects", "sums"),  # what a test is called is in its environment
)
def test_what_is_nested_too_deep_is_refused(run, sql):
    done = query(run, sql)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: ")


def children_of(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(one) for one in found]


@pytest.fixture
def busy(run):
    """A query that never ends by itself, and the child that computes it."""
    if sys.platform != "linux":
        pytest.skip("children are found in /proc")
    command = [*QUERY, str(run), FOREVER, "--timeout", "1h"]
    with subprocess.Popen(command, stdout=-1, stderr=-1, text=True) as started:
        deadline = time.monotonic() + 60
        while not (children := children_of(started.pid)) and time.monotonic() < deadline:
            time.sleep(0.01)
        while not is_computing(children[0]) and time.monotonic() < deadline:
            time.sleep(0.01)
        yield started, children[0]
        started.kill()


def is_computing(pid: int) -> bool:
    """Return whether a process has used more than a second of CPU time."""
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11]
    return int(ticks) > os.sysconf("SC_CLK_TCK")


def is_gone(pid: int) -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["parent", "both"])
def test_ctrl_c_ends_a_function_that_does_not_look(busy, whom):
    parent, child = busy
    if whom == "both":  # as a terminal does
        os.kill(child, signal.SIGINT)
    parent.send_signal(signal.SIGINT)
    _, said = parent.communicate(timeout=30)
    assert parent.returncode == 130
    assert said.strip() == "Interrupted"
    assert is_gone(child)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_child_ends_with_its_parent(busy, number):
    parent, child = busy
    parent.send_signal(number)
    parent.wait(timeout=30)
    assert parent.returncode == -number
    assert is_gone(child)


@pytest.mark.slow
def test_a_child_that_is_killed_is_an_error_with_a_way_out(busy):
    parent, child = busy
    os.kill(child, signal.SIGKILL)
    _, said = parent.communicate(timeout=30)
    assert parent.returncode == 2
    assert said.startswith("Error: the database ended with signal 9: out of the 1GiB of memory")


def test_a_process_with_streams_of_its_own_is_not_forked(monkeypatch):
    monkeypatch.setattr(os, "fork", None)  # calling it would fail
    isolation.supervise(1)


def test_memory_goes_with_the_tables(tmp_path, monkeypatch):
    monkeypatch.setattr(isolation, "half_of_machine", lambda: 3 * 2**30)
    (tmp_path / "t").write_bytes(b"")
    assert memory_of([tmp_path / "t"]) == 2**30
    os.truncate(tmp_path / "t", 2**24)
    assert memory_of([tmp_path / "t"]) == 2**30 + 2**28
    os.truncate(tmp_path / "t", 2**40)
    assert memory_of([tmp_path / "t"]) == 3 * 2**30


def test_a_size_is_a_number_with_a_unit():
    assert parse_bytes("1.5GiB") == 3 * 2**29
    for text in ("much", "3 apples", "0GiB"):
        with pytest.raises(InputError):
            parse_bytes(text)
