"""Damaged Parquet files: told before they are decoded, and never the end of the process."""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from replay.cli import main
from replay.errors import TraceError
from replay.schema import TRACE_SCHEMA_VERSION
from replay.trace.parquet import NOT_VERIFIABLE, write_trace
from replay.trace.parquet_check import FILE_DIGEST, UNSEALED, check_parquet, check_parquet_file
from replay.trace.readers import load_trace
from tests.random_traces import unit_trace_of
from tests.shared_data import SHARED

UNITS = {
    "arrival_ns": 0, "segments": [3, 4], "segment_tokens": [2, 4], "response_segment": 5,
    "input_tokens": 6, "output_tokens": 3, "session_id": 0,
}  # fmt: skip


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return write_trace(unit_trace_of([UNITS] * 20), tmp_path / "trace.parquet")


def unsealed(path: Path, tmp_path: Path) -> Path:
    """Return a copy as an earlier replay wrote it: the same rows and facts, no digest."""
    metadata = pl.read_parquet_metadata(path)["replay"]
    head, _, rest = metadata.partition(f', "{FILE_DIGEST}": "')
    old = head + rest[len(UNSEALED) + 1 :]
    old = old.replace(f'"schema_version": {TRACE_SCHEMA_VERSION}', '"schema_version": 1')
    copy = tmp_path / "old.parquet"
    pl.read_parquet(path).write_parquet(copy, metadata={"replay": old})
    return copy


def test_the_digest_is_that_of_the_file_with_zeros_in_its_place(trace):
    content = trace.read_bytes()
    told = content[content.rindex(b'"file_sha256": "') + 16 :][:64]
    assert hashlib.sha256(content.replace(told, b"0" * 64)).hexdigest() == told.decode()
    checked = check_parquet_file(trace)
    assert checked.sealed
    assert checked.sha256 == hashlib.sha256(content).hexdigest()


def test_every_flipped_bit_of_a_canonical_trace_is_told(trace):
    whole, rng = trace.read_bytes(), random.Random(0)
    loaded = load_trace(trace)
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        trace.write_bytes(damaged)
        with pytest.raises(TraceError):
            load_trace(trace)
    trace.write_bytes(whole)
    assert load_trace(trace).frame.equals(loaded.frame)


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"PAR1PAR1", b"PAR1\xff\xff\xff\x7fPAR1", b"x" * 50]
)
def test_what_is_cut_short_is_told(content):
    with pytest.raises(TraceError, match="cut short"):
        check_parquet(content, "t.parquet")


def test_an_older_trace_is_read_and_says_that_it_cannot_be_verified(trace, tmp_path):
    old = unsealed(trace, tmp_path)
    loaded = load_trace(old)
    assert loaded.frame.equals(load_trace(trace).frame)
    assert NOT_VERIFIABLE in loaded.meta.notes
    again = load_trace(write_trace(loaded, tmp_path / "new.parquet"))
    assert NOT_VERIFIABLE not in again.meta.notes


def test_damage_without_a_checksum_is_found_by_another_process(trace, tmp_path):
    """Damages data pages: whatever decoding does to its process, this one reads on."""
    old = unsealed(trace, tmp_path)
    whole, rng, refused = old.read_bytes(), random.Random(3), 0
    for _ in range(3):
        damaged = bytearray(whole)
        start = rng.randrange(8, 200)
        damaged[start : start + 40] = rng.randbytes(40)
        try:
            check_parquet(bytes(damaged), "old.parquet")
        except TraceError as error:
            refused += "damaged Parquet file" in error.message
    assert refused


@pytest.mark.parametrize("command", ["check", "curve"])
def test_files_that_made_decoders_abort_are_refused(command):
    folder = SHARED / "cases" / "robustness" / f"CRASH_signal_6_parquet_{command}"
    if not folder.is_dir():
        pytest.skip("the files that made decoders abort are not beside the checkout")
    done = CliRunner().invoke(main, [command, str(folder / "in.parquet")])
    assert done.exit_code == 2
    assert "in.parquet: damaged Parquet file (" in done.stderr


def test_verify_tells_of_a_trace(trace, tmp_path):
    whole = trace.read_bytes()
    assert CliRunner().invoke(main, ["verify", str(trace)]).exit_code == 0
    trace.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    done = CliRunner().invoke(main, ["verify", str(trace)])
    assert done.exit_code == 2
    assert "damaged" in done.stdout
    plain = tmp_path / "t.jsonl"
    plain.write_text("{}")
    done = CliRunner().invoke(main, ["verify", str(plain)])
    assert done.exit_code == 0
    assert "not verifiable" in done.stdout


def test_a_small_file_that_decodes_to_very_much_is_refused(tmp_path):
    path = tmp_path / "t.parquet"
    pl.select(pl.repeat(7, 20_000_000, dtype=pl.Int64).alias("a")).write_parquet(path)
    assert path.stat().st_size < 100_000
    with pytest.raises(TraceError, match="unpack to more than 64MiB"):
        check_parquet(path.read_bytes(), "t.parquet")
    assert not check_parquet(path.read_bytes(), "t.parquet", most_bytes=2**30).sealed


def test_what_is_no_file_is_not_verified(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        done = CliRunner().invoke(main, ["verify", str(path)])
        assert done.exit_code == 2
        assert "no regular file" in done.stderr
