"""What sources call models, adapters, salts and tenants, and how requests skip the look-up."""

from __future__ import annotations

import json

import polars as pl
import pytest

from replay.errors import TraceError
from replay.trace.content_names import ALIASES, name_text, skips_lookup, with_content_columns
from replay.trace.frame import Trace, TraceMeta, canonical_trace
from replay.trace.readers import load_trace
from replay.trace.readers.options import ReadOptions

META = TraceMeta(path="t", name="t", sha256="", format="t", block_size=None, content="none")
HI = [{"role": "user", "content": "Hi"}]
REPLY = {"choices": [{"message": {"role": "assistant", "content": "ok"}}]}


def canonical(**columns) -> Trace:
    count = len(next(iter(columns.values())))
    lengths = {
        "arrival_ns": range(count),
        "input_tokens": [4] * count,
        "output_tokens": [1] * count,
    }
    return canonical_trace(pl.DataFrame({**lengths, **columns}), META)


def logged(tmp_path, *rows: dict) -> Trace:
    path = tmp_path / "log.jsonl"
    shared = {"timestamp": 1735689600.25, "response": REPLY}
    path.write_text("".join(json.dumps(shared | row) + "\n" for row in rows))
    return load_trace(path, format_name="openai")


@pytest.mark.parametrize(("column", "alias"), [
    (column, alias) for column, aliases in ALIASES.items() for alias in aliases
])  # fmt: skip
def test_every_alias_becomes_its_column(column, alias):
    trace = canonical(**{alias: ["x", "y"]})
    assert trace.frame[column].to_list() == ["x", "y"]
    if alias != column:
        assert alias not in trace.frame.columns
        assert f"column {column} is the source's {alias}" in trace.meta.notes


@pytest.mark.parametrize("name", ["Lora-Name", "loraName", "LORA_NAME", "lora.name"])
def test_capitals_and_punctuation_do_not_matter(name):
    assert canonical(**{name: ["x"]}).frame["adapter"].to_list() == ["x"]


def test_numbers_become_text_and_nothing_is_null():
    trace = canonical(tenant_id=[7, None, 9], lora=["", "a", None])
    assert trace.frame["tenant"].to_list() == ["7", None, "9"]
    assert trace.frame["adapter"].to_list() == [None, "a", None]


def test_other_names_fill_in_and_stay():
    trace = canonical(lora_id=[1, 2], lora_name=[None, "b"])
    assert trace.frame["adapter"].to_list() == ["1", "b"]
    assert trace.frame["lora_id"].to_list() == [1, 2]


def test_a_salt_and_a_key_beside_it_name_the_content_together():
    trace = canonical(cache_salt=["s", "s", None, None], extra_key=["k", "m", "k", None])
    assert trace.frame["cache_salt"].to_list() == ["s/k", "s/m", "k", None]


def test_what_holds_no_names_is_left_alone():
    frame = pl.DataFrame({"lora": [[1, 2]]})
    assert with_content_columns(frame)[0].equals(frame)


@pytest.mark.parametrize(("value", "text"), [
    ("a", "a"), (7, "7"), (1.5, "1.5"), (True, "true"), (None, None), ("", None),
    ({"lora_name": "x", "lora_int_id": 3}, "x"), ({"path": "/p"}, "/p"), ({"z": 1}, '{"z": 1}'),
    ("\ud800", "\\ud800"),
])  # fmt: skip
def test_names_are_text(value, text):
    assert name_text(value) == text


@pytest.mark.parametrize(("asked", "skips"), [
    ({"prompt_logprobs": 5}, True),
    ({"prompt_logprobs": 0}, True),  # vLLM: anything but null
    ({"prompt_logprobs": None}, False),
    ({"prompt_logprobs": False}, False),
    ({"skip_reading_prefix_cache": True}, True),
    ({"skip_reading_prefix_cache": False}, False),
    ({"skip_reading_prefix_cache": 0}, False),
    ({"logprobs": 5}, False),
    ({"echo": True, "logprobs": 5, "prompt": "x"}, True),
    ({"echo": True, "prompt": "x"}, False),
    ({"echo": True, "logprobs": True, "messages": []}, False),
    ({"echo": True, "logprobs": True, "top_logprobs": 2, "messages": []}, True),
    ({"return_logprob": True, "logprob_start_len": 0}, True),
    ({"return_logprob": True, "logprob_start_len": -1}, False),
    ({"return_logprob": True}, False),
    ({"return_logprob": False, "logprob_start_len": 0}, False),
])  # fmt: skip
def test_who_skips_the_lookup(tmp_path, asked, skips):
    assert skips_lookup(asked) is skips
    prompt = {} if "prompt" in asked else {"messages": HI}
    frame = logged(tmp_path, {"request": {**asked, **prompt}}, {"request": {"messages": HI}}).frame
    found = frame["skips_lookup"].to_list() if "skips_lookup" in frame.columns else [False] * 2
    assert [bool(one) for one in found] == [skips, False]


def test_a_table_says_who_skips_the_lookup():
    trace = canonical(prompt_logprobs=[1, None, 0])
    assert trace.frame["skips_lookup"].to_list() == [True, False, True]
    assert trace.frame["prompt_logprobs"].to_list() == [1, None, 0]
    trace = canonical(skip_reading_prefix_cache=["true", "False", ""])
    assert trace.frame["skips_lookup"].to_list() == [True, False, False]
    assert "skips_lookup" not in canonical(prompt_logprobs=[None, None]).frame.columns


def test_a_canonical_column_of_another_type_is_told():
    with pytest.raises(TraceError, match=r"column model must be String \(got List"):
        canonical(model=[["a"]])


@pytest.mark.parametrize("place", [
    {"cache_salt": "s"},
    {"request": {"messages": HI, "cache_salt": "s"}},
    {"request": {"messages": HI, "extra_body": {"cache_salt": "s"}}},
    {"request": {"messages": HI, "vllm_xargs": {"cache_salt": "s"}}},
    {"request": {"messages": HI, "metadata": {"cache_salt": "s"}}},
    {"metadata": {"cache_salt": "s"}},
    {"body": {"messages": HI, "cache_salt": "s"}},
])  # fmt: skip
def test_a_salt_is_found_wherever_it_stands(tmp_path, place):
    bare = {} if "body" in place else {"request": {"messages": HI}}
    trace = logged(tmp_path, {**bare, **place}, bare or {"body": {"messages": HI}})
    assert trace.frame["cache_salt"].to_list() == ["s", None]


def test_values_inside_a_request_are_columns_like_those_beside_it(tmp_path):
    inside = {"messages": HI, "model": "m", "temperature": 0.5, "seed": 3,
              "metadata": {"team": "x", "seed": 3}, "lora_request": {"lora_name": "l"}}  # fmt: skip
    trace = logged(tmp_path, {"request": inside, "seed": 4, "status": "ok"})
    row = trace.frame.row(0, named=True)
    wanted = {"model": "m", "temperature": 0.5, "seed": 4, "request_seed": 3, "team": "x",
              "adapter": "l", "source_status": "ok"}  # fmt: skip
    assert {name: row[name] for name in wanted} == wanted


def test_mixed_types_of_names_are_kept(tmp_path):
    rows = [{"request": {"messages": HI, "tenant": one}} for one in (1, "a", None)]
    assert logged(tmp_path, *rows).frame["tenant"].to_list() == ["1", "a", None]


def test_any_table_names_them_in_its_mapping_or_by_themselves(tmp_path):
    table, mapping = tmp_path / "t.csv", tmp_path / "m.yaml"
    table.write_text("at,in,out,who,lora\n1,4,1,7,a\n2,4,1,8,b\n")
    known = "arrival: {name: at, unit: s}, input_tokens: in, output_tokens: out"
    mapping.write_text(f"columns: {{{known}, tenant: who}}")
    frame = load_trace(table, options=ReadOptions(columns=mapping)).frame
    assert frame["tenant"].to_list() == ["7", "8"]
    assert frame["adapter"].to_list() == ["a", "b"]
