"""What reading costs at scale: files of a million requests to a built prefix tree.

    python benchmarks/ingest.py [--requests 1000000] [--blocks 30] [--runs 3] [-o RESULTS.json]

Draws a trace of sessions that grow, writes it as Mooncake JSON lines (small ids, and ids of 63 bits
as anonymised traces have), as canonical Parquet and as token ids, and builds the prefix tree of
each in a process of its own. Printed are CPU seconds (user and system, the median), peak memory,
and beside them what a plain read of the same file costs in Polars and DuckDB, which build nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.run import measured  # noqa: E402

TURNS = 5
TREE = """
from replay.trace.readers import load_trace
from replay.trace.tree import build_tree
tree = build_tree(load_trace({path!r}))
assert tree.requests == {requests}, tree.requests
"""
STREAM = """
from replay.trace.stream import stream_trace
trace, tree = stream_trace({path!r})
assert tree.requests == {requests}, tree.requests
"""
POLARS_LINES = """
import polars as pl
schema = dict.fromkeys(("timestamp", "input_length", "output_length"), pl.Int64)
frame = pl.read_ndjson({path!r}, schema=schema | {{"hash_ids": pl.List(pl.Int64)}})
assert frame.height == {requests}
"""
POLARS_PARQUET = """
import polars as pl
assert pl.read_parquet({path!r}).height == {requests}
"""
DUCKDB_LINES = """
import duckdb
duckdb.sql("set threads = 1")
keys = "timestamp: 'BIGINT', input_length: 'BIGINT', output_length: 'BIGINT', hash_ids: 'BIGINT[]'"
query = "from read_json({path!r}, columns = {{" + keys + "}}, format = 'newline_delimited')"
duckdb.sql("create table t as " + query)
assert duckdb.sql("select count(*) from t").fetchall() == [({requests},)]
"""
DUCKDB_PARQUET = """
import duckdb
duckdb.sql("set threads = 1")
duckdb.sql("create table t as from read_parquet({path!r})")
assert duckdb.sql("select count(*) from t").fetchall() == [({requests},)]
"""


def draw(requests: int, blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """Return block ids end to end and how many each request has: sessions that grow by turns.

    Sessions of TURNS turns; a session's prompts hold its ids so far, the first of which all
    sessions share. Mean length is `blocks`.
    """
    rng = np.random.default_rng(1)
    sessions = -(-requests // TURNS)
    grown = rng.integers(1, 2 * blocks * 2 // (TURNS + 1), (sessions, TURNS)).cumsum(axis=1)
    counts = grown.T.ravel()[:requests]  # all first turns, then all second ones, as time goes
    start = np.concatenate([[0], grown[:, -1].cumsum()[:-1]]) + 1
    first = np.tile(start, TURNS)[:requests]
    offsets = np.cumsum(counts) - counts
    ids = np.arange(counts.sum()) - np.repeat(offsets - first, counts)
    ids[offsets] = 0
    return ids, counts


def as_json_lines(ids: np.ndarray, counts: np.ndarray, path: Path) -> None:
    from replay.trace.lists import list_column

    lengths = pl.Series("input_length", counts * 512)
    pl.DataFrame(
        {
            "timestamp": np.arange(len(counts)) * 3,
            "input_length": lengths,
            "output_length": 100,
            "hash_ids": list_column(ids, counts),
        }
    ).write_ndjson(path)


def as_parquet(requests: int, blocks: int, path: Path) -> int:
    """Write a canonical trace of block ids and return how many there are."""
    from replay.trace.frame import TraceMeta, canonical_trace
    from replay.trace.lists import list_column
    from replay.trace.parquet import write_trace

    ids, counts = draw(requests, blocks)
    frame = pl.DataFrame(
        {
            "arrival_ns": np.arange(requests) * 3_000_000,
            "input_tokens": counts * 512,
            "output_tokens": 100,
            "block_ids": list_column(ids.astype(np.uint64), counts),
        }
    )
    meta = TraceMeta(path="", name="long", sha256="", format="drawn", block_size=512, content="")
    write_trace(canonical_trace(frame, meta), path)
    return len(ids)


def as_tokens(tokens: int, path: Path) -> int:
    """Write a canonical trace of about so many token ids; return its requests."""
    from replay.trace.frame import TraceMeta, canonical_trace
    from replay.trace.lists import list_column
    from replay.trace.parquet import write_trace

    ids, counts = draw(tokens // 2048, 64)
    units = np.repeat(ids, 32).astype(np.uint32) * 7919 + np.tile(np.arange(32), len(ids))
    frame = pl.DataFrame(
        {
            "arrival_ns": np.arange(len(counts)) * 3_000_000,
            "input_tokens": counts * 32,
            "output_tokens": 100,
            "tokens": list_column((units % 128_256).astype(np.uint32), counts * 32),
        }
    )
    meta = TraceMeta(path="", name="tokens", sha256="", format="drawn", block_size=None, content="")
    write_trace(canonical_trace(frame, meta), path)
    return len(counts)


def main() -> None:
    """Draw, measure and print; write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--blocks", type=int, default=30)
    parser.add_argument("--tokens", type=int, default=100_000_000)
    parser.add_argument("--long", type=int, metavar="N", help="stream a file of N requests too")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    os.environ["POLARS_MAX_THREADS"] = "1"  # CPU seconds of one core, beside those of others
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, script, path, requests, amount, goal in jobs(options, Path(scratch)):
            code = script.format(path=str(path), requests=requests)
            figures = measured([sys.executable, "-c", code], options.runs)
            rows.append({"job": name, **figures, "goal": goal, "amount": amount})
    print(f"{'job':44}{'CPU s':>8}{'peak MB':>9}{'M/s a core':>12}  goal")
    for row in rows:
        rate = row["amount"] / row["cpu_s"] / 1e6
        print(f"{row['job']:44}{row['cpu_s']:8.2f}{row['peak_mb']:9.0f}{rate:12.1f}  {row['goal']}")
    if options.output:
        options.output.write_text(json.dumps(rows, indent=1) + "\n")


def jobs(options: argparse.Namespace, folder: Path) -> list[tuple]:
    """Return what to measure: name, script, file, requests, units in it, and the goal."""
    from replay.trace.parquet import write_trace
    from replay.trace.readers import load_trace

    ids, counts = draw(options.requests, options.blocks)
    wide = (ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(1)
    small, hashed, parquet = folder / "small.jsonl", folder / "63bit.jsonl", folder / "t.parquet"
    as_json_lines(ids, counts, small)
    as_json_lines(wide.astype(np.int64), counts, hashed)
    write_trace(load_trace(small), parquet)
    tokens = folder / "tokens.parquet"
    prompts = as_tokens(options.tokens, tokens)
    n, blocks = options.requests, len(ids)
    jobs = [
        ("Mooncake lines to tree", TREE, small, n, blocks, "8 CPU s, 2,000 MB"),
        ("Mooncake lines, 63-bit ids, to tree", TREE, hashed, n, blocks, "8 CPU s, 2,000 MB"),
        ("  floor: Polars reads the lines", POLARS_LINES, small, n, blocks, ""),
        ("  floor: DuckDB reads the lines", DUCKDB_LINES, small, n, blocks, ""),
        ("canonical Parquet to tree", TREE, parquet, n, blocks, "3 CPU s"),
        ("  floor: Polars reads the Parquet", POLARS_PARQUET, parquet, n, blocks, ""),
        ("  floor: DuckDB reads the Parquet", DUCKDB_PARQUET, parquet, n, blocks, ""),
        ("token ids to tree", TREE, tokens, prompts, options.tokens, "5 CPU s"),
        ("  floor: Polars reads the Parquet", POLARS_PARQUET, tokens, prompts, options.tokens, ""),
    ]
    if options.long:
        long = folder / "long.parquet"
        blocks = as_parquet(options.long, options.blocks, long)
        jobs += [
            ("canonical Parquet to tree, streamed", STREAM, long, options.long, blocks, ""),
            ("  floor: Polars reads the Parquet", POLARS_PARQUET, long, options.long, blocks, ""),
        ]
    return jobs


if __name__ == "__main__":
    main()
