"""Opening a run directory: what is there comes back, and everything else is said plainly."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from replay.errors import InputError
from replay.runs.open import Run, open_run, verify_run
from replay.runs.seal import sealed
from tests.run_fixture import age, tables, write, write_untimed


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return open_run(write(tmp_path / "run"))


def change_manifest(run: Run, change: Callable[[dict[str, Any]], object]) -> None:
    path = run.folder / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["manifest_sha256"]
    change(manifest)
    path.write_text(sealed(manifest))


def error_of(folder: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        open_run(folder)
    return caught.value


def test_tables_come_back_as_they_were_written(run: Run) -> None:
    assert_frame_equal(pl.read_parquet(run.tables["requests"]), tables()["requests"])


def test_an_untimed_run_has_no_timeline(tmp_path: Path) -> None:
    assert list(open_run(write_untimed(tmp_path / "run")).tables) == [
        "requests", "prefixes", "curve",
    ]  # fmt: skip


def test_a_run_opens_through_a_link_to_its_folder(run: Run, tmp_path: Path) -> None:
    link = tmp_path / "latest"
    link.symlink_to(run.folder)
    assert open_run(link).folder == run.folder


def test_tables_that_the_schema_does_not_know_are_left_alone(run: Run) -> None:
    change_manifest(run, lambda manifest: manifest["tables"].update({"../../etc/passwd": 1}))
    assert list(open_run(run.folder).tables) == ["requests", "timeline", "prefixes", "curve"]


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
    assert "is no regular file" in error_of(run.folder).message


def test_a_table_that_is_a_pipe_is_not_waited_for(run: Run) -> None:
    run.tables["requests"].unlink()
    os.mkfifo(run.tables["requests"])
    assert "is no regular file" in error_of(run.folder).message


# Damage


def test_every_flipped_bit_is_told(run: Run) -> None:
    """Flips bits all over a run, as many in each file, and opens it every time."""
    rng = random.Random(0)
    for path in sorted(run.folder.iterdir()):
        whole = path.read_bytes()
        for _ in range(60):
            damaged = bytearray(whole)
            damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
            path.write_bytes(damaged)
            with pytest.raises(InputError):
                open_run(run.folder)
        path.write_bytes(whole)
    assert open_run(run.folder).verified


def test_all_damage_is_named_at_once(run: Run) -> None:
    run.tables["timeline"].unlink()
    (run.folder / "scenario.yaml").write_text("seed: 1\n")
    (run.folder / "notes.md").write_text("mine")
    found = {verdict.file: verdict.verdict for verdict in verify_run(run.folder)}
    assert found == {
        "manifest.json": "ok", "requests.parquet": "ok", "prefixes.parquet": "ok",
        "curve.parquet": "ok", "timeline.parquet": "damaged", "scenario.yaml": "damaged",
        "notes.md": "stranger",
    }  # fmt: skip


@pytest.mark.parametrize("content", [b"{", b"", b'{"manifest_sha256": 1}'])
def test_a_manifest_that_cannot_be_read_is_one_of_the_verdicts(run: Run, content: bytes) -> None:
    (run.folder / "manifest.json").write_bytes(content)
    found = verify_run(run.folder)
    assert (found[0].file, found[0].verdict) == ("manifest.json", "damaged")
    assert {verdict.verdict for verdict in found[1:]} == {"not verifiable"}
    assert {verdict.file for verdict in found[1:]} >= {"requests.parquet", "timeline.parquet"}


def test_a_change_of_what_a_manifest_says_is_told(run: Run) -> None:
    path = run.folder / "manifest.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1', 1))
    assert "manifest_sha256" in error_of(run.folder).message
    assert verify_run(run.folder)[0].verdict == "damaged"


@pytest.mark.parametrize("key", ["files", "manifest_sha256"])
def test_a_seal_cannot_be_taken_off_in_part(run: Run, key: str) -> None:
    path = run.folder / "manifest.json"
    record = {**json.loads(path.read_text()), "schema_version": 3}
    del record[key]
    path.write_text(json.dumps(record))
    error_of(run.folder)


def test_a_run_from_before_checksums_opens_and_says_so(run: Run) -> None:
    age(run.folder, 3)
    assert not open_run(run.folder).verified
    assert {verdict.verdict for verdict in verify_run(run.folder)} == {"not verifiable"}


def test_a_manifest_never_leads_out_of_its_folder(run: Run) -> None:
    change_manifest(run, lambda manifest: manifest["files"].update({"../x": {}}))
    assert "lists a file that no run has" in error_of(run.folder).message
