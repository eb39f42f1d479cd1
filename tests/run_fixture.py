"""A run of thirty requests made by hand: every status, cause and kind of pair, with sessions.

`python -m tests.run_fixture` writes tests/sql/*.csv anew; read the difference before keeping it.
"""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from replay.report.db import RunDatabase
from replay.report.library import report_names
from replay.report.tables import write_table
from replay.runs.open import open_run
from replay.runs.write import write_run
from replay.schema import TABLES

BLOCK = 16
MS = 1_000_000
EXPECTED = Path(__file__).parent / "sql"

# Sessions of 12, 6, 4, 2 and 1 requests, and five requests of none.
_SESSIONS = [4, 3, 4, 2, None, 4, 3, 1, 4, 2, 4, 3, None, 4, 0,
             4, 3, 2, 4, None, 3, 4, 1, 4, 2, 3, 4, None, 4, None]  # fmt: skip
_STATUS = {7: "rejected", 19: "rejected", 28: "unfinished", 29: "unfinished"}
_PREEMPTED = {9: 17, 21: 40}  # tokens computed again
ONE_TOKEN_ONLY = 28  # unfinished, though its first token came
NO_PAIR = 11  # completed here, but not with caching off
SLOWER = 16  # slower with caching than without
PARTIAL = 13  # reused a partial block


def request_rows() -> list[dict]:
    """Return the requests as plain dicts, for the table and for tests that count themselves."""
    rows, seen = [], dict.fromkeys(range(5), 0)
    for i, session in enumerate(_SESSIONS):
        turn = None if session is None else seen[session]
        if session is not None:
            seen[session] += 1
        rows.append(_row(i, session, turn))
    return rows


def ended_rows() -> list[dict]:
    """Return the requests of a run that went on until all had ended."""
    return [
        row | {"status": "rejected"} if row["status"] == "unfinished" else row
        for row in request_rows()
    ]


def _row(i: int, session: int | None, turn: int | None) -> dict:
    status = _STATUS.get(i, "completed")
    input_tokens, output_tokens = 35 + 29 * i % 200, 1 if i % 9 == 4 else 3 + i % 7
    hit = BLOCK * min((input_tokens - 1) // BLOCK, i % 6 + 1) if i % 4 else 0
    if i == PARTIAL:
        hit = input_tokens - 1
    if status == "rejected":
        hit = 0
    session_hit = hit - hit // 48 * BLOCK if turn else 0
    row = {
        "request_id": i,
        "session_id": session,
        "turn": turn,
        "parent_request_id": None,
        "arrival_ns": i * i * 10 * MS,
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "status": status,
        "hit_tokens": hit,
        "session_hit_tokens": session_hit,
        "cross_request_hit_tokens": hit - session_hit,
        "global_prefix_hit_tokens": min(hit, BLOCK),
        "contained_request_id": i - 1 if turn else None,
        "premature_ns": i % 3 * MS if turn else None,
        "input_blocks": -(-input_tokens // BLOCK),
        "hit_blocks": -(-hit // BLOCK),
        "full_hit_blocks": hit // BLOCK,
        "optimum_hit_tokens": hit + i % 7,
        "sufficient_capacity_blocks": 10 * (i % 4),
        "evicted_blocks": i % 3,
        "preemptions": int(i in _PREEMPTED),
        "recomputed_tokens": _PREEMPTED.get(i, 0),
    }
    return row | _event(i, row) | _admission(i) | _causes(input_tokens - hit) | _latencies(i, row)


def _admission(i: int) -> dict:
    untimed = ("admitted_ns", "lookup_attempts", "response_status", "response_evicted_blocks")
    by, when = (i - 1, i) if i % 3 == 1 else (None, None)
    return {"evicted_by_request_id": by, "evicted_ns": when} | dict.fromkeys(untimed)


def _event(i: int, row: dict) -> dict:
    hit, own = row["hit_tokens"], row["session_hit_tokens"]
    event = "CONVERSATIONAL_MISS_UNEXPECTED_PROMPT" if i % 8 == 0 and row["turn"] else "MISS_FULL"
    if hit:
        event = "CONVERSATIONAL_HIT" if 2 * own >= hit else "CROSS_REQUEST_HIT"
    if hit == row["input_tokens"] - 1:
        event = "FULL_HIT_NO_PREFILL_NEEDED"
    if row["status"] != "completed":
        event = None
    return {"prefix_cache_event": event, "forgotten_tokens": 100 * (i % 5 == 0)}


def _causes(missed: int) -> dict:
    causes = {"cold_tokens": missed // 2, "capacity_miss_tokens": missed // 4}
    causes |= {"in_flight_tokens": missed // 8, "disabled_tokens": 0}
    causes |= {"policy_miss_tokens": missed // 16}
    causes |= {"granularity_tokens": missed - sum(causes.values())}
    return causes | {"avoidable_miss_tokens": missed // 5}


def _latencies(i: int, row: dict) -> dict:
    itl = (5 * MS + 1000 * i) if row["output_tokens"] > 1 else None
    decode = (itl or 0) * (row["output_tokens"] - 1)
    queue, prefill = i * 7919 % 50 * MS + i, (row["input_tokens"] - row["hit_tokens"]) * 100_000 + 5
    off_queue = queue if i == SLOWER else 2 * queue + 3
    off_prefill = 11 if i == SLOWER else row["input_tokens"] * 100_000 + 7
    has_first = row["status"] == "completed" or i == ONE_TOKEN_ONLY
    values = {
        "queue_ns": queue if has_first else None,
        "overhead_ns": 0 if has_first else None,
        "prefill_ns": prefill if has_first else None,
        "ttft_ns": queue + prefill if has_first else None,
        "itl_mean_ns": itl,
        "itl_max_ns": itl and 2 * itl,
        "e2e_ns": queue + prefill + decode,
        "no_cache_status": "unfinished" if i == NO_PAIR else row["status"],
        "no_cache_queue_ns": off_queue if has_first else None,
        "no_cache_prefill_ns": off_prefill if has_first else None,
        "no_cache_ttft_ns": off_queue + off_prefill if has_first else None,
        "no_cache_e2e_ns": None if i == NO_PAIR else off_queue + off_prefill + decode,
    }
    if row["status"] != "completed":
        values |= dict.fromkeys(["itl_mean_ns", "itl_max_ns", "e2e_ns", "no_cache_e2e_ns"])
    return values


def prefix_rows() -> list[dict]:
    """Return the prefixes: more than a report shows, with ties, and ones nobody shared."""
    return [
        {
            "prefix_id": k,
            "parent_prefix_id": k - 1 if k % 2 else None,
            "start_tokens": 32 if k % 2 else 0,
            "stop_tokens": 64 if k % 2 else 32,
            "requests": 1 if k == 5 else 2 + k,
            "sessions": 1 + k % 4,
            "first_request_id": k % 30,
            "last_block_id": 2**64 - 1 - k,
            "hit_tokens": 0 if k == 3 else BLOCK * (k * 7 % 11 + 1),
            "evicted_blocks": k % 3,
        }
        for k in range(26)
    ]


def timeline_rows() -> list[dict]:
    """Return three intervals of a second."""
    names = [column.name for column in TABLES["timeline"]]
    return [
        {name: 10 * k + at for at, name in enumerate(names)}
        | {"start_ns": k * 1000 * MS, "width_ns": 1000 * MS}
        for k in range(3)
    ]


def curve_rows() -> list[dict]:
    """Return LRU at seven capacities, the run's half, double and fourfold among them, and `min`."""
    lru = {25: 300, 50: 600, 100: 900, 150: 1100, 200: 1300, 300: 1480, 400: 1500}
    rows = [("lru", blocks, tokens) for blocks, tokens in lru.items()] + [("min", 100, 1250)]
    names = ("policy", "capacity_blocks", "hit_tokens")
    return [dict(zip(names, row, strict=True)) for row in rows]


def frame(table: str, rows: list[dict]) -> pl.DataFrame:
    """Return rows as a frame in the types of the schema, columns it does not know behind."""
    known = {column.name: getattr(pl, column.dtype) for column in TABLES[table]}
    extra = {name for row in rows for name in row} - known.keys()
    own = pl.DataFrame([{k: row[k] for k in known} for row in rows], schema=known)
    return own.with_columns(pl.Series(name, [row[name] for row in rows]) for name in sorted(extra))


def tables(**rows: list[dict] | None) -> dict[str, pl.DataFrame]:
    """Return the tables of the run; a keyword replaces the rows of one, None leaves it out."""
    given = {
        "requests": request_rows(),
        "timeline": timeline_rows(),
        "prefixes": prefix_rows(),
        "curve": curve_rows(),
        **rows,
    }
    return {name: frame(name, found) for name, found in given.items() if found is not None}


def manifest(**changes: object) -> dict:
    """Return a manifest shaped as the engine makes it; keywords replace its top-level keys."""
    calm = {"overloaded": False, "queue_growth": 0.001, "backlog_requests": 1, "drain_ns": 5 * MS}
    return {
        "argv": ["run", "trace.jsonl"],
        "seed": 0,
        "versions": {"python": "3.11.7"},
        "mode": "timed",
        "trace": {
            "path": "traces/trace.jsonl", "name": "trace.jsonl", "sha256": "ab" * 32,
            "format": "mooncake", "requests": 30, "block_size": BLOCK,
            "content": "prefix-chained block ids of the source", "sessions": "given by the source",
            "rejected_rows": 0, "notes": ["the clock of the trace ticks in seconds"],
        },
        "scenario": {
            "seed": 0,
            "trace": {"sessions": "infer", "speedup": 1.0},
            "cache": {"enabled": True, "policy": "lru"},
        },
        "cache": {
            "block_size": BLOCK, "capacity_blocks": 100, "capacity_tokens": 1600,
            "capacity_bytes": 1600 * 131_072, "capacity_source": "the GPU's memory",
            "kv_bytes_per_token": 131_072,
        },
        "gpu": {
            "name": "h100-sxm", "model": "llama-3.1-8b", "tensor_parallel": 1,
            "weight_bytes": 1, "activation_bytes": 1, "kv_pool_bytes": 1,
        },
        "overload": calm,
        "no_cache_overload": calm,
        "totals": {"evicted_blocks": 31, "end_ns": 9_000 * MS},
        "timings": {"prepare_ns": 1, "simulate_ns": 2, "tables_ns": 3},
        "notes": ["responses are unknown"],
        **changes,
    }  # fmt: skip


def overloaded_manifest() -> dict:
    """Return the manifest of a run whose queue diverges, with caching on and off."""
    worse = {"overloaded": True, "queue_growth": 0.512, "backlog_requests": 1234, "drain_ns": MS}
    return manifest(overload=worse, no_cache_overload={**worse, "queue_growth": 0.9})


def age(folder: Path, version: int) -> None:
    """Turn a run into one of an earlier schema, from before runs had checksums."""
    path = folder / "manifest.json"
    record = json.loads(path.read_text())
    del record["files"], record["manifest_sha256"]
    path.write_text(json.dumps({**record, "schema_version": version}))


def untimed_rows() -> list[dict]:
    """Return the requests as an untimed run leaves them: no clock, no pair."""
    gone = {name for name in request_rows()[0] if name.endswith("_ns")} - {"arrival_ns"}
    gone.add("no_cache_status")
    return [
        {k: None if k in gone else v
         for k, v in row.items()}
        for row in ended_rows()
    ]  # fmt: skip


def write(folder: Path, made: dict | None = None, **rows: list[dict] | None) -> Path:
    """Write the run to a folder and return it."""
    write_run(folder, tables(**rows), made or manifest(), "seed: 0\n")
    return folder


def write_untimed(folder: Path, **rows: list[dict] | None) -> Path:
    """Write the run as an untimed one and return its folder."""
    untimed = manifest(mode="untimed", gpu=None, overload=None, no_cache_overload=None)
    return write(folder, untimed, **{"requests": untimed_rows(), "timeline": None, **rows})


def _write_expected() -> None:
    import tempfile

    EXPECTED.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        stopped = write(Path(folder) / "stopped")
        ended = write(Path(folder) / "ended", requests=ended_rows())
        for name in report_names():
            with RunDatabase(open_run(ended if name == "memory" else stopped)) as run:
                found = run.query(f"FROM report.{name}")
                write_table(found, "csv", EXPECTED / f"{name}.csv", force=True)


if __name__ == "__main__":
    _write_expected()
