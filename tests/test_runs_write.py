"""Writing a run directory: whole or not there, and nothing that is not ours is ever replaced."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from replay.errors import InputError, OutputError, OutputExistsError
from replay.runs import digest as digest_module
from replay.runs import rows as rows_module
from replay.runs import write
from replay.runs.digest import result_digest
from replay.runs.layout import check_target
from replay.runs.open import open_run
from replay.runs.rows import Rows
from replay.runs.write import write_run
from replay.writing import whole
from tests.run_fixture import manifest, tables
from tests.run_fixture import write as write_fixture

FILES = [
    "curve.parquet",
    "manifest.json",
    "prefixes.parquet",
    "requests.parquet",
    "scenario.yaml",
    "timeline.parquet",
]


SCENARIO = "seed: 0\n"


def requests() -> pl.DataFrame:
    return tables()["requests"].with_columns(model=pl.lit("a"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def save(folder: Path, *, force: bool = False, seed: int = 7) -> None:
    write_run(folder, tables(), manifest(seed=seed), SCENARIO, force=force)


def seed_of(folder: Path) -> int:
    return open_run(folder).manifest["seed"]


# What is written


def test_a_run_has_its_files_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    save(tmp_path / "run")
    assert names(tmp_path) == ["run"]
    assert names(tmp_path / "run") == FILES


def test_missing_parents_are_made(tmp_path: Path) -> None:
    save(tmp_path / "a" / "b" / "run")
    assert names(tmp_path / "a" / "b") == ["run"]


def test_the_manifest_says_what_the_tables_are(tmp_path: Path) -> None:
    found = open_run(write_fixture(tmp_path / "run")).manifest
    assert found["schema_version"] == 5
    assert found["tables"] == {"requests": 30, "timeline": 3, "prefixes": 26, "curve": 8}
    assert found["result_digest"] == result_digest(tables())


def test_the_digest_can_be_computed_again_from_the_files(tmp_path: Path) -> None:
    run = open_run(write_fixture(tmp_path / "run"))
    read = {name: pl.read_parquet(path) for name, path in run.tables.items()}
    assert result_digest(read) == run.manifest["result_digest"]


def test_columns_of_the_trace_follow_those_of_the_schema(tmp_path: Path) -> None:
    shuffled = requests().select("model", *reversed(requests().columns[:-1]))
    write_run(tmp_path / "run", {"requests": shuffled}, manifest(), SCENARIO)
    found = pl.read_parquet_schema(tmp_path / "run" / "requests.parquet")
    assert list(found) == requests().columns


def test_a_path_that_is_no_text_is_kept_in_the_manifest(tmp_path: Path) -> None:
    name = b"caf\xe9.jsonl".decode(errors="surrogateescape")
    write_run(tmp_path / "run", tables(), manifest(argv=[name]), SCENARIO)
    assert open_run(tmp_path / "run").manifest["argv"] == [name]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hit_tokens": None}, "column hit_tokens is missing"),
        ({"hit_tokens": pl.Series([0.5] * 30)}, "must be Int64"),
        ({"turn": pl.Series([2**40] * 30)}, "column turn"),
        ({"label": pl.Series([object()] * 30, dtype=pl.Object)}, "holds Python objects"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    (name, column), *_ = change.items()
    frame = requests().drop(name) if column is None else requests().with_columns(**change)
    with pytest.raises(ValueError, match=said):
        write_run(tmp_path / "run", {"requests": frame}, manifest(), SCENARIO)
    assert names(tmp_path) == []


def test_a_long_table_is_written_in_stretches_and_reads_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_digest = result_digest({"requests": requests()})
    for module in (write, rows_module, digest_module):
        monkeypatch.setattr(module, "ROWS_AT_ONCE", 8)
    made = []

    def make(start: int, stop: int) -> pl.DataFrame:
        made.append((start, stop))
        return requests()[start:stop]

    write_run(tmp_path / "run", {"requests": Rows(30, make)}, manifest(), SCENARIO)
    run = open_run(tmp_path / "run")
    read = pl.read_parquet(run.tables["requests"])
    assert read.equals(requests())
    assert run.manifest["tables"] == {"requests": 30}
    assert [one for one in made if one[1]] == [(0, 8), (8, 16), (16, 24), (24, 30)]
    monkeypatch.undo()
    assert result_digest({"requests": read}) == whole_digest


def test_ctrl_c_between_two_stretches_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (write, rows_module, digest_module):
        monkeypatch.setattr(module, "ROWS_AT_ONCE", 8)

    def make(start: int, stop: int) -> pl.DataFrame:
        if start == 8:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.3)  # the thread that writes: the main one hears of it
        return requests()[start:stop]

    with pytest.raises(KeyboardInterrupt):
        write_run(tmp_path / "run", {"requests": Rows(30, make)}, manifest(), SCENARIO)
    assert names(tmp_path) == []


@pytest.mark.parametrize("error", [ValueError("mine"), OSError(errno.ENOSPC, "no")])
def test_a_table_that_cannot_be_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    for module in (write, rows_module, digest_module):
        monkeypatch.setattr(module, "ROWS_AT_ONCE", 8)

    def make(start: int, stop: int) -> pl.DataFrame:
        if start == 8:
            raise error
        return requests()[start:stop]

    with pytest.raises(ValueError if isinstance(error, ValueError) else OutputError):
        write_run(tmp_path / "run", {"requests": Rows(30, make)}, manifest(), SCENARIO)
    assert names(tmp_path) == []


# What is replaced


def test_a_run_is_not_replaced_unless_forced(tmp_path: Path) -> None:
    save(tmp_path / "run")
    with pytest.raises(OutputExistsError, match="exists already"):
        save(tmp_path / "run", seed=8)
    assert seed_of(tmp_path / "run") == 7


def test_force_replaces_a_run(tmp_path: Path) -> None:
    save(tmp_path / "run")
    save(tmp_path / "run", seed=8, force=True)
    assert seed_of(tmp_path / "run") == 8
    assert names(tmp_path) == ["run"]


def test_force_replaces_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(OutputExistsError):
        save(tmp_path / "run")
    save(tmp_path / "run", force=True)
    assert names(tmp_path) == ["run"]


def test_force_leaves_other_folders_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("mine")
    with pytest.raises(OutputExistsError, match="not a run directory"):
        save(tmp_path, force=True)
    assert names(tmp_path) == ["notes.md"]


@pytest.mark.parametrize("text", ["{}", "[", '{"tables": 1}', '{"schema_version": 1, "tables": 1}'])
def test_force_leaves_folders_with_another_manifest_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(OutputExistsError, match="not a run directory"):
        save(tmp_path, force=True)
    assert names(tmp_path) == ["manifest.json"]


def test_force_leaves_a_run_alone_that_somebody_added_to(tmp_path: Path) -> None:
    save(tmp_path / "run")
    (tmp_path / "run" / "notes.md").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"holds more than a run wrote \(got notes.md\)"):
        save(tmp_path / "run", force=True)
    assert (tmp_path / "run" / "notes.md").read_text() == "mine"


def test_force_leaves_files_alone(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(OutputExistsError, match="is a file"):
        save(tmp_path / "run", force=True)
    assert (tmp_path / "run").read_text() == "mine"


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("exists", [False, True])
def test_links_are_refused(tmp_path: Path, force: bool, exists: bool) -> None:
    if exists:
        save(tmp_path / "real")
    (tmp_path / "run").symlink_to(tmp_path / "real")
    with pytest.raises(InputError, match="symbolic link"):
        save(tmp_path / "run", force=force)
    assert (tmp_path / "run").is_symlink()


def test_a_file_in_the_path_is_said_before_anything_is_simulated(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is not a folder"):
        check_target(tmp_path / "file" / "run", False)


def test_a_parent_that_cannot_be_written_is_said_before_anything_is_simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:  # root may write everywhere
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OutputError, match="permission denied"):
        check_target(tmp_path / "new" / "run", False)


def test_the_current_folder_can_be_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    save(Path(), force=True)
    assert names(tmp_path / "run") == FILES


# What fails on the way

FIRST = [
    (write, "_parquet"), (write, "_text"), (whole, "synced"),
    (whole, "_put_folder"), (whole, "_rename_folder"),
]  # fmt: skip
REPLACING = [*FIRST[:-1], (whole, "_swapped")]
ERRORS = [
    (OSError(errno.ENOSPC, "no"), "the disk is full"),
    (OSError(errno.EDQUOT, "no"), "quota"),
    (OSError(errno.EROFS, "no"), "read-only"),
    (OSError(errno.EACCES, "no"), "permission denied"),
    (OSError(errno.EIO, "no"), "input/output error"),
]


@pytest.mark.parametrize(("error", "said"), ERRORS)
@pytest.mark.parametrize(
    ("before", "step"),
    [(False, step) for step in FIRST] + [(True, step) for step in REPLACING],
)
def test_a_failure_at_any_step_leaves_what_was_there(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: tuple[ModuleType, str],
    error: OSError,
    said: str,
    before: bool,
) -> None:
    if before:
        save(tmp_path / "run")

    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(*step, fail)
        with pytest.raises(OutputError, match=said):
            save(tmp_path / "run", force=True, seed=8)
    assert names(tmp_path) == (["run"] if before else [])
    assert not before or seed_of(tmp_path / "run") == 7


@pytest.mark.parametrize("call", range(1, 9))
def test_ctrl_c_at_any_call_leaves_a_whole_run_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """Presses Ctrl-C inside the n-th call of any helper."""
    calls = 0

    def pressing(helper: Any) -> Any:
        def wrapped(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == call:
                os.kill(os.getpid(), signal.SIGINT)
            return helper(*arguments)

        return wrapped

    for module, name in FIRST:
        monkeypatch.setattr(module, name, pressing(getattr(module, name)))
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path / "run")
    assert names(tmp_path) in ([], ["run"])
    if names(tmp_path):
        assert seed_of(tmp_path / "run") == 7


def test_ctrl_c_works_again_after_a_write(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    save(tmp_path / "run")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_run_can_be_written_from_another_thread(tmp_path: Path) -> None:
    thread = threading.Thread(target=save, args=(tmp_path / "run",))
    thread.start()
    thread.join()
    assert seed_of(tmp_path / "run") == 7


def test_a_run_that_appears_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = write._parquet

    def race(*arguments: Any) -> None:
        monkeypatch.setattr(write, "_parquet", parquet)
        save(tmp_path / "run", seed=1)
        parquet(*arguments)

    monkeypatch.setattr(write, "_parquet", race)
    with pytest.raises(OutputExistsError):
        save(tmp_path / "run", seed=2)
    assert seed_of(tmp_path / "run") == 1
    assert names(tmp_path) == ["run"]


def test_there_is_a_run_at_every_moment_of_replacing_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looks through the operating system's eyes: each call that renames or removes something."""
    save(tmp_path / "run")
    seen = []

    def audit(event: str, _: object) -> None:
        if event in ("os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "ctypes.dlsym"):
            seen.append(seed_of(tmp_path / "run"))

    watch = [audit]
    sys.addaudithook(lambda event, given: watch[0](event, given))
    save(tmp_path / "run", seed=8, force=True)
    watch[0] = lambda *_: None  # a hook cannot be taken out
    assert 7 in seen
    assert seen[-1] == 8


def test_without_swapping_a_failure_puts_the_old_run_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "run")
    monkeypatch.setattr(whole, "_swapped", lambda *_: False)
    with monkeypatch.context() as patch:
        patch.setattr(whole, "_rename_folder", fail_with(errno.EIO))
        with pytest.raises(OutputError):
            save(tmp_path / "run", seed=8, force=True)
    assert seed_of(tmp_path / "run") == 7
    save(tmp_path / "run", seed=8, force=True)
    assert seed_of(tmp_path / "run") == 8
    assert names(tmp_path) == ["run"]


def fail_with(code: int) -> Any:
    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """Runs in a process that may not write files larger than 3 kB."""
    code = (
        "import resource, sys, pathlib\n"
        "from replay.errors import OutputError\n"
        "from tests.test_runs_write import save\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\n"
        "try:\n"
        "    save(pathlib.Path(sys.argv[1]))\n"
        "except OutputError as error:\n"
        "    print(error.message, error.hint)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert "a file grew past the size limit" in done.stdout
    assert names(tmp_path) == []


def test_a_run_is_there_only_when_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    sync = os.fsync

    def watch(descriptor: int) -> None:
        seen.append((tmp_path / "run").exists())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    save(tmp_path / "run")
    written = [json.loads((tmp_path / "run" / "manifest.json").read_text())["tables"]]
    assert seen[:-1] == [False] * (len(FILES) + 1)  # every file and the folder, then the rename
    assert written == [{"requests": 30, "timeline": 3, "prefixes": 26, "curve": 8}]
