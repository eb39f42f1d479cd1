"""Some of what goes wrong around replay; `make faults` does the rest: `python -m tests.faults`."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.faults import bombs, damage, escapes, pipes, streams
from tests.faults.__main__ import MODULES
from tests.faults.trial import Done, Trial
from tests.fuzz.judge import call

SLOW = ("SQL", "packed", "zstandard", "gzip", "2 GB", "billion", "60 MB", "50 MB", "2^31", "files")
SLOW += (
    "stored",
    "groups",
    "template",
    "10^6 -o",
    "nanosecond",
    "timed",
    "profile",
    "standard input",
)


def named(trials: list[Trial]) -> list[object]:
    return [pytest.param(one, id=f"{one.kind}: {one.name}") for one in trials]


@pytest.mark.parametrize("trial", named(list(escapes.trials())))
def test_what_a_file_names_is_shown_and_never_obeyed(trial, tmp_path):
    assert trial.attempt(tmp_path, Random(1)) is None


QUICK = [name for name in bombs.BOMBS if not any(word in name for word in SLOW)]


@pytest.mark.parametrize("name", QUICK)
def test_a_bomb_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err, _ = call(bombs.BOMBS[name](tmp_path))
    done = Done(code, out, err, 0, 0)
    assert (done.fault if name in bombs.MAY_WORK else done.refused()) is None


def picked(trials: list[Trial], *names: str) -> list[object]:
    return named([one for one in trials if any(name in one.name for name in names)])


@pytest.mark.slow
@pytest.mark.parametrize(
    "trial",
    [
        *picked(list(streams.trials()), "list, standard output closed", "help, all streams closed"),
        *picked(list(pipes.trials()), "a pipe without writer for a manifest"),
        *named(list(damage.trials())[3:5]),
    ],
)
def test_a_trial_in_a_process_of_its_own(trial: Trial, tmp_path: Path):
    assert trial.attempt(tmp_path, Random(1)) is None


def test_there_are_as_many_trials_as_are_promised():
    kinds = [trial.kind for module in MODULES for trial in module.trials()]
    names = [(trial.kind, trial.name) for module in MODULES for trial in module.trials()]
    assert len(set(names)) == len(names)
    assert kinds.count("kills") >= 100
    assert kinds.count("flips") >= 100
    assert kinds.count("caches") >= 20
    assert kinds.count("escapes") >= 12
    assert kinds.count("bombs") >= 36
