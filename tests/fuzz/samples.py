"""What is mutated: a good sample of every trace format, document and run."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from replay.config.dump import dump_scenario
from replay.config.scenario import Scenario
from replay.resources import data_folder

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "formats"
SAMPLE = b"".join((ROOT / "traces" / "chat-small.jsonl").read_bytes().splitlines(True)[:20])

_BLOCK = re.compile(r"^```\n(.*?)^```", re.DOTALL | re.MULTILINE)
_NOT_LINES = {".csv": "csv", ".json": "json", ".txt": "text", ".log": "text"}

BAILIAN = b"""\
{"chat_id": 159, "parent_chat_id": -1, "timestamp": 61.114, "input_length": 21, "output_length": 5, "type": "text", "turn": 1, "hash_ids": [1089, 1090]}
{"chat_id": 160, "parent_chat_id": 159, "timestamp": 75.5, "input_length": 40, "output_length": 132, "type": "text", "turn": 2, "hash_ids": [1089, 1090, 1091]}
"""  # noqa: E501
WEKA = b"""\
{"id": "trace_1", "block_size": 64, "hash_id_scope": "local", "models": ["m"], "requests": [{"t": 0.0, "type": "n", "model": "m", "in": 200, "out": 9, "hash_ids": [1, 2, 3], "api_time": 5.2, "think_time": 0.0}, {"t": 7.5, "type": "subagent", "agent_id": "agent_001", "requests": [{"t": 0.0, "type": "s", "model": "m", "in": 130, "out": 4, "hash_ids": [1, 9], "ttft": 0.3, "api_time": 1.0}]}, {"t": 20.25, "type": "n", "model": "m", "in": 260, "out": 3, "hash_ids": [1, 2, 3, 4], "api_time": 2.0}]}
"""  # noqa: E501
LLMSERVINGSIM = b"""\
{"input_toks": 3, "output_toks": 2, "arrival_time_ns": 46926808, "input_tok_ids": [5971, 2927, 220], "output_tok_ids": [9, 12]}
{"input_toks": 4, "output_toks": 1, "arrival_time_ns": 46926909, "input_tok_ids": [5971, 2927, 220, 9], "output_tok_ids": [1]}
"""  # noqa: E501
LLMSERVINGSIM_SESSIONS = b"""\
{"session_id": "a", "arrival_time_ns": 0, "sub_requests": [{"input_toks": 300, "output_toks": 20, "tool_duration_ns": 1500000000}, {"input_toks": 350, "output_toks": 9, "tool_duration_ns": 0}]}
"""  # noqa: E501
COLUMNS_CSV = b"""\
at,in,out,who,hashes,model
2025-01-31T12:00:00.5Z,130,20,ann,a3f b71 09c,m
2025-01-31T12:00:01Z,131,3,ann,a3f b71 0aa,m
2025-01-31T12:00:09Z,10,1,bob,77,n
"""
COLUMNS_YAML = b"""\
columns:
  arrival: {name: at, unit: iso}
  input_tokens: in
  output_tokens: out
  session: who
  block_ids: hashes
  model: model
block_size: 64
block_ids_chained: true
format: csv
delimiter: ","
"""
COLUMNS_TOKENS = b"""\
{"at": 0.5, "ids": [1, 2, 3, 4], "reply": [5, 6], "ttft": 12.5, "hit": 0}
{"at": 1.5, "ids": [1, 2, 3, 4, 5, 6, 7], "reply": [8], "ttft": 3, "hit": 4}
"""
COLUMNS_TOKENS_YAML = b"""\
columns:
  arrival: {name: at, unit: s}
  tokens: ids
  response_tokens: reply
  recorded_ttft: {name: ttft, unit: ms}
  recorded_hit_tokens: hit
"""
MEASURED = b"""\
gpu,model,tp,phase,new_tokens,context_tokens,batch,decode_ctx,measured_ms
h,llama-3.1-8b,1,prefill,128,0,1,0,6.40
h,llama-3.1-8b,1,prefill,512,0,1,0,25.60
h,llama-3.1-8b,1,prefill,2048,1024,1,0,102.40
h,llama-3.1-8b,1,decode,1,1000,1,0,8.05
h,llama-3.1-8b,1,decode,1,1000,64,0,11.20
h,llama-3.1-8b,1,mixed,256,0,8,500,20.0
"""
TOKENIZER = b"""\
{"version": "1.0", "truncation": null, "padding": null,
 "added_tokens": [{"id": 0, "content": "<s>", "single_word": false, "lstrip": false,
                   "rstrip": false, "normalized": false, "special": true}],
 "normalizer": null, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null,
 "decoder": null, "model": {"type": "WordLevel", "unk_token": "[UNK]",
 "vocab": {"<s>": 0, "[UNK]": 1, "user": 2, "assistant": 3, "You": 4, "are": 5, "hi": 6}}}
"""
TEMPLATE = b"""\
{%- for message in messages %}
{{- '<s>' + message['role'] + '\n' + message['content'] | trim + '\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<s>assistant\n' }}{% endif %}
"""
SQL = (
    b"SELECT turn, count(*), avg(ttft_ns) FROM requests GROUP BY turn ORDER BY turn",
    b"WITH x AS (FROM prefixes LIMIT 5) SELECT * FROM x JOIN requests ON request_id = prefix_id",
    b"DESCRIBE requests",
    b"FROM report.hit_rate",
    b"SELECT repeat('x', 10), list_sum(range(9)), '2024-01-01'::DATE FROM range(3)",
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A good file: `kind` says how it is mutated (see mutate.py)."""

    name: str
    data: bytes
    kind: str


@cache
def trace_samples() -> dict[str, tuple[Sample, ...]]:
    """Return samples of every trace format of text: the examples of its page, or some of ours."""
    found = {page.stem: _of_page(page) for page in sorted(PAGES.glob("*.md"))}
    del found["README"]
    ours = {
        "bailian": (Sample("in.jsonl", BAILIAN, "jsonl"),),
        "weka": (Sample("in.jsonl", WEKA, "jsonl"),),
        "llmservingsim": (
            Sample("in.jsonl", LLMSERVINGSIM, "jsonl"),
            Sample("in.jsonl", LLMSERVINGSIM_SESSIONS, "jsonl"),
        ),
        "columns": (
            Sample("in.csv", COLUMNS_CSV, "csv"),
            Sample("in.jsonl", COLUMNS_TOKENS, "jsonl"),
        ),
        "mooncake": (*found["mooncake"], Sample("in.jsonl", SAMPLE, "jsonl")),
    }
    return {**found, **ours}


def _of_page(page: Path) -> tuple[Sample, ...]:
    from replay.trace.readers import READERS

    suffixes = {reader.name: reader.suffixes for reader in READERS}.get(page.stem, ())
    suffix = (suffixes or (".txt",))[0]
    texts = [found[1] for found in _BLOCK.finditer(page.read_text())]
    return tuple(Sample(f"in{suffix}", text.encode(), _kind(text, suffix)) for text in texts)


def _kind(text: str, suffix: str) -> str:
    first = text.lstrip()[:1]
    if first in ("{", "["):
        lines = [line for line in text.splitlines() if line.strip()]
        return "jsonl" if all(line.startswith(("{", "[")) for line in lines) else "json"
    return _NOT_LINES.get(suffix, "text")


@cache
def documents(folder: str) -> tuple[bytes, ...]:
    """Return the YAML files that ship in a folder of hardware/, or the profiles in traces/."""
    if folder == "profiles":
        paths = sorted(data_folder("traces").glob("*.yaml"))
        return tuple(path.read_bytes() for path in paths if path.stem != "catalogue")
    return tuple(path.read_bytes() for path in sorted((data_folder("hardware") / folder).glob("*")))


@cache
def scenarios() -> tuple[bytes, ...]:
    """Return scenarios of every kind of cache, timed and untimed."""
    changes: tuple[dict[str, object], ...] = (
        {},
        {"engine": {"mode": "untimed", "hold": "3s"}, "cache": {"capacity": "20blocks"}},
        {"cache": {"kind": "radix", "policy": "slru", "radix": {"protected_hits": 3}}},
        {"cache": {"kind": "session_store", "capacity": "4000tokens"}},
        {
            "cache": {"policy": "ttl", "ttl": "5s", "block_size": 16, "pinned_prefixes": [1, 2]},
            "engine": {"mode": "untimed"},
        },
        {
            "trace": {"speedup": 2.0, "arrival_jitter": "10ms", "system_prompt_tokens": 20},
            "engine": {"horizon": "60s", "long_prefill_token_threshold": 256},
            "gpu": {"name": "a100-sxm-80gb", "tensor_parallel": 2},
        },
    )
    return tuple(
        dump_scenario(Scenario.model_validate(change)).encode()
        for change in changes
        if _is_valid(change)
    )


def _is_valid(change: dict[str, object]) -> bool:
    try:
        Scenario.model_validate(change)
    except ValueError:
        return False
    return True


@cache
def configs() -> tuple[dict[str, object], ...]:
    """Return published config.json of many families."""
    from tests import published_configs

    found = vars(published_configs).values()
    return tuple(one for one in found if isinstance(one, dict) and "model_type" in one)


def write_binary(folder: Path) -> None:
    """Write what takes libraries to make: canonical Parquet, Parquet of chats, and a run."""
    import polars as pl

    from replay.runs.write import write_run
    from replay.trace.readers import load_trace
    from replay.trace.writers import writer_for
    from tests import run_fixture

    texts = {"blocks": SAMPLE, "tokens": LLMSERVINGSIM, "lengths": LLMSERVINGSIM_SESSIONS}
    with tempfile.TemporaryDirectory() as beside:
        for name, text in texts.items():
            path = Path(beside) / "in.jsonl"
            path.write_bytes(text)
            target = folder / f"{name}.parquet"
            writer_for(target, None).write(load_trace(path), target)
    chats = [
        {
            "id": "a",
            "conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yo"}],
        }
    ]
    pl.DataFrame(chats).write_parquet(folder / "sharegpt.parquet")
    write_run(folder / "run", run_fixture.tables(), run_fixture.manifest(), "seed: 0\n")
