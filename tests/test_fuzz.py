"""Fuzzing: every reader and document is attacked, what goes wrong is found, and a little of it.

`make fuzz` does the rest: `python -m tests.fuzz --help`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from random import Random

import click
import pytest

from replay.cli import main
from replay.trace.readers import READERS, load_trace
from replay.trace.readers.options import DEFAULTS, ReadOptions
from tests.fuzz import judge, mutate, samples, shrink, workers
from tests.fuzz import targets as fuzz_targets
from tests.fuzz.case import Case, Finding
from tests.fuzz.targets import Target, case_of

LITTLE = 3  # cases of each target here


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of samples that take libraries to make, taken by the targets."""
    folder = tmp_path_factory.mktemp("samples")
    samples.write_binary(folder)
    fuzz_targets.prepare(folder)
    return folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder to judge cases in; commands run in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("reader", READERS, ids=lambda one: one.name)
def test_every_reader_has_samples_that_it_reads(reader, made, tmp_path):
    if reader.name == "parquet":
        assert load_trace(made / "blocks.parquet").meta.format == "parquet"
        return
    found = samples.trace_samples().get(reader.name, ())
    assert found, f"tests/fuzz/samples.py has none of {reader.name}"
    options = DEFAULTS
    if reader.name == "columns":
        (tmp_path / "c.yaml").write_bytes(samples.COLUMNS_YAML)
        options = ReadOptions(columns=tmp_path / "c.yaml")
    path = tmp_path / found[0].name
    path.write_bytes(found[0].data)
    assert load_trace(path, options=options).meta.format == reader.name


def test_every_reader_and_every_command_is_attacked(made):
    known = fuzz_targets.targets()
    assert {f"trace-{reader.name}" for reader in READERS} <= known.keys()
    commands = {
        case_of(target, 5, index).argv[0] for target in known.values() for index in range(25)
    }
    assert commands >= set(main.commands) - {"doctor", "demo"}


def test_a_case_depends_on_the_seed_alone(made):
    for target in fuzz_targets.targets().values():
        assert case_of(target, 3, 7) == case_of(target, 3, 7)
    cases = {repr(case_of(fuzz_targets.targets()["scenario"], 3, n)) for n in range(20)}
    assert len(cases) > 15


@pytest.mark.parametrize("kind", ["jsonl", "json", "yaml", "csv", "text", "binary"])
def test_mutations_change_any_input_and_keep_it_small(kind):
    for seed in range(300):
        random = Random(seed)
        sample = random.choice(
            [b"", b'{"a": [1, {"b": "c"}]}\n', b"a,b\n1,2\n", b"\xff\x00", b"[" * 99]
        )
        data = mutate.mutated(random, sample, kind, (b"other", b""))
        assert isinstance(data, bytes)
        assert len(data) <= mutate.MOST_BYTES


@pytest.mark.parametrize("target", sorted(fuzz_targets.targets()))
def test_a_few_cases_of_every_target(target, made, place):
    wanted = fuzz_targets.targets()[target]
    for index in range(LITTLE):
        case = case_of(wanted, 1, index)
        if not case.process:
            assert judge.judged(case, place) is None, case.command


# --- that what goes wrong is found ----------------------------------------------------------


def _broken(monkeypatch: pytest.MonkeyPatch, callback: object) -> Case:
    monkeypatch.setitem(main.commands, "check", click.Command("check", callback=callback))  # type: ignore[arg-type]
    return Case({"a": b"x"}, ("check",), "a")


def test_an_internal_error_is_found_with_its_kind(place, monkeypatch):
    def fails() -> None:
        raise KeyError("nothing")

    found = judge.judged(_broken(monkeypatch, fails), place)
    assert found is not None
    assert (found.kind, found.what.split()[0]) == ("internal", "KeyError")


@pytest.mark.parametrize(
    ("callback", "kind"),
    [
        (lambda: click.echo("\x1b[2J"), "escape"),
        (lambda: sys.exit(3), "exit"),
        (lambda: Path(".a.replay-partial-1").touch(), "leftover"),
        (lambda: bytearray(2**31 + 2**28)[::4096], "memory"),
        (lambda: __import__("warnings").warn("x", UserWarning, stacklevel=1), "warning"),
        (lambda: None, None),
    ],
)
def test_other_faults_are_found(callback, kind, place, monkeypatch):
    found = judge.judged(_broken(monkeypatch, callback), place)
    assert (found and found.kind) == kind


def test_a_worker_that_aborts_or_hangs_is_replaced_and_its_case_named(made, monkeypatch):
    def make(random: Random) -> Case:
        return Case({}, (random.choice(("fine", "abort", "hang")),))

    def judged(case: Case, _: Path) -> Finding | None:
        if case.argv == ("abort",):
            os.kill(os.getpid(), signal.SIGKILL)
        while case.argv == ("hang",):
            time.sleep(0.01)
        return Finding("internal", "x") if case.argv == ("found",) else None

    target = Target("fake", make)
    monkeypatch.setattr(fuzz_targets, "targets", lambda: {"fake": target})
    monkeypatch.setattr(judge, "judged", judged)
    monkeypatch.setattr(workers, "HANG_WALL_S", 1.0)
    monkeypatch.setattr(workers, "become_ready", lambda folder, samples: None)
    work = [("fake", index) for index in range(9)]
    expected = {index: case_of(target, 1, index).argv[0] for index in range(9)}
    assert set(expected.values()) == {"fine", "abort", "hang"}
    told = {
        one.index: one.finding.kind if one.finding else "fine"
        for one in workers.run_all(work, seed=1, samples=made, workers=2)
    }
    assert told == expected


def test_a_case_is_made_small(made):
    smallest = shrink.smallest(b"one\ntwo three\nfour\n" * 9, lambda data: b"hre" in data)
    assert smallest == b"hre"
