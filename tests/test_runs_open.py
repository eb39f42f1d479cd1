"""Opening a run directory: what is there comes back, and everything else is said plainly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from replay.errors import InputError
from replay.runs.open import Run, open_run
from tests.run_fixture import tables, write, write_untimed


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return open_run(write(tmp_path / "run"))


def change_manifest(run: Run, change: Callable[[dict[str, Any]], object]) -> None:
    path = run.folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def error_of(folder: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        open_run(folder)
    return caught.value


def test_tables_come_back_as_they_were_written(run: Run) -> None:
    assert_frame_equal(pl.read_parquet(run.tables["requests"]), tables()["requests"])


def test_an_untimed_run_has_no_timeline(tmp_path: Path) -> None:
    assert list(open_run(write_untimed(tmp_path / "run")).tables) == ["requests", "prefixes"]


def test_a_run_opens_through_a_link_to_its_folder(run: Run, tmp_path: Path) -> None:
    link = tmp_path / "latest"
    link.symlink_to(run.folder)
    assert open_run(link).folder == run.folder


def test_tables_that_the_schema_does_not_know_are_left_alone(run: Run) -> None:
    change_manifest(run, lambda manifest: manifest["tables"].update({"../../etc/passwd": 1}))
    assert list(open_run(run.folder).tables) == ["requests", "timeline", "prefixes"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert error_of(tmp_path / "none").message == f"{tmp_path / 'none'}: no such folder"


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "trace.jsonl").write_text("{}")
    assert "is a file, not a run directory" in error_of(tmp_path / "trace.jsonl").message


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    assert "not a run directory" in error_of(tmp_path).message


@pytest.mark.parametrize("text", ["[]", "{}", '"text"', '{"schema_version": 1}'])
def test_a_manifest_of_something_else(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    assert "not a run directory" in error_of(tmp_path).message


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b""])
def test_a_damaged_manifest(run: Run, content: bytes) -> None:
    (run.folder / "manifest.json").write_bytes(content)
    assert f"{run.folder / 'manifest.json'}: not JSON" in error_of(run.folder).message


def test_a_manifest_nested_too_deep_to_read(run: Run) -> None:
    (run.folder / "manifest.json").write_text("[" * 100_000)
    assert "not JSON" in error_of(run.folder).message


@pytest.mark.parametrize("tables", [None, [], ["requests"]])
def test_tables_that_are_no_object(run: Run, tables: object) -> None:
    change_manifest(run, lambda manifest: manifest.update(tables=tables))
    assert "not the manifest of a run" in error_of(run.folder).message


@pytest.mark.parametrize("version", ["1", None, True])
def test_a_version_that_is_no_number(run: Run, version: object) -> None:
    change_manifest(run, lambda manifest: manifest.update(schema_version=version))
    assert "not the manifest of a run" in error_of(run.folder).message


def test_a_newer_schema_says_who_wrote_it(run: Run) -> None:
    change_manifest(run, lambda manifest: manifest.update(schema_version=99, replay_version="9.1"))
    error = error_of(run.folder)
    assert "run schema 99 is newer" in error.message
    assert "9.1" in (error.hint or "")


def test_a_run_without_requests(run: Run) -> None:
    change_manifest(run, lambda manifest: manifest["tables"].pop("requests"))
    assert "requests is missing" in error_of(run.folder).message


def test_a_missing_table(run: Run) -> None:
    run.tables["timeline"].unlink()
    assert error_of(run.folder).message == f"{run.tables['timeline']}: is missing"


@pytest.mark.parametrize("content", [b"", b"PA", b"PAR1", b"PAR1 cut off in the mid"])
def test_a_table_that_is_cut_off(run: Run, content: bytes) -> None:
    run.tables["requests"].write_bytes(content)
    assert "not a whole Parquet file" in error_of(run.folder).message


def test_a_table_that_is_a_link(run: Run, tmp_path: Path) -> None:
    moved = run.tables["requests"].rename(tmp_path / "elsewhere.parquet")
    run.tables["requests"].symlink_to(moved)
    assert "is a symbolic link" in error_of(run.folder).message


def test_a_table_that_is_a_folder(run: Run) -> None:
    run.tables["requests"].unlink()
    run.tables["requests"].mkdir()
    assert "cannot read" in error_of(run.folder).message
