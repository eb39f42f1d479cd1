"""Readers of what benchmarks played and measured, each request with its lengths and times."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import TraceError
from replay.trace.readers import load_trace
from replay.trace.readers.aibrix import looks_like_aibrix, read_aibrix
from replay.trace.readers.aiperf import looks_like_aiperf, read_aiperf
from replay.trace.readers.guidellm import looks_like_guidellm, read_guidellm
from replay.trace.readers.inference_perf import looks_like_inference_perf, read_inference_perf
from replay.trace.readers.llmservingsim_bench import (
    looks_like_llmservingsim_bench,
    read_llmservingsim_bench,
)
from replay.trace.readers.vllm_bench import looks_like_vllm_bench, read_vllm_bench
from tests.reader_fuzz import any_json, json_lines, mutated, reading, requests_or_refusal, rows_of
from tests.shared_data import SHARED, needs

AIPERF_SAMPLE = SHARED / "samples" / "aiperf_profile_export.jsonl"
VLLM_SAMPLE = SHARED / "samples" / "vllm_bench_serve_detailed.json"
START = 1_762_551_534_797_067_827
records = reading(read_aiperf)
results = reading(read_vllm_bench, "a.json")


def record(start=START, asked=100, given=200, ttft=31.5, error=None, metrics=(), **metadata):
    found = {
        "input_sequence_length": {"value": asked, "unit": "tokens"},
        "output_sequence_length": {"value": given, "unit": "tokens"},
        "time_to_first_token": {"value": ttft, "unit": "ms"},
        "request_latency": {"value": 3.25, "unit": "s"},
        **dict(metrics),
    }
    told = {
        "x_request_id": "r", "x_correlation_id": "c", "conversation_id": None, "turn_index": 0,
        "request_start_ns": start, "benchmark_phase": "profiling", "was_cancelled": False,
    }  # fmt: skip
    return {"metadata": {**told, **metadata}, "metrics": found, "error": error}


def result(**more):
    return {
        "backend": "vllm", "model_id": "m", "request_throughput": 1.5, "total_input_tokens": 300,
        "input_lens": [100, 200, 50], "output_lens": [3, 2, 0], "ttfts": [0.1, 0.2, 0.0],
        "itls": [[0.05, 0.07], [0.1], []], "start_times": [11.5, 10.0, 12.0],
        "errors": ["", "", "refused"], **more,
    }  # fmt: skip


def text_of(*rows):
    return "\n".join(map(json.dumps, rows))


def test_records_become_requests_with_what_was_measured():
    rows = [record(START + 5), record(given=9.0, x_request_id="q", turn_index=1)]
    trace = records(text_of(*rows))
    assert trace.frame["arrival_ns"].to_list() == [0, 5]
    assert trace.frame["output_tokens"].to_list() == [9, 200]
    assert trace.frame["recorded_ttft_ns"].to_list() == [31_500_000] * 2
    assert trace.frame["recorded_e2e_ns"].to_list() == [3_250_000_000] * 2
    assert trace.frame["source_request_id"].to_list() == ["q", "r"]
    assert trace.frame["source_session_id"].to_list() == ["c", "c"]
    assert trace.meta.clock_start_ns == START


def test_records_that_are_not_measured_are_put_aside():
    rows = [
        record(), record(benchmark_phase="warmup"), record(was_cancelled=True),
        record(error={"code": 500}), record(given=0),
    ]  # fmt: skip
    trace = records(text_of(*rows))
    assert trace.requests == 1
    assert [row.line for row in trace.rejected] == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (record(asked="a"), "a.jsonl:1: metrics.input_sequence_length.value must be an integer"),
        (record(asked=1.5), "a.jsonl:1: metrics.input_sequence_length.value must be an integer"),
        (record(start=None), "a.jsonl:1: lacks metadata.request_start_ns"),
        (record(metrics={"request_latency": {"value": 3, "unit": "h"}}), "unit must be one of ns,"),
        (record(metrics={"input_sequence_length": None}), "lacks metrics.input_sequence_length"),
        ({"metadata": {"request_start_ns": 1}}, "a.jsonl:1: lacks metrics"),
    ],
)
def test_faults_of_records_are_told_with_their_line(row, fault):
    with pytest.raises(TraceError, match=fault):
        records(text_of(row))


@pytest.mark.parametrize("indent", [None, 1])
def test_lists_of_a_result_become_requests(indent):
    trace = results(json.dumps(result(), indent=indent))
    assert trace.frame["arrival_ns"].to_list() == [0, 1_500_000_000]
    assert trace.frame["input_tokens"].to_list() == [200, 100]
    assert trace.frame["recorded_ttft_ns"].to_list() == [200_000_000, 100_000_000]
    assert trace.frame["recorded_e2e_ns"].to_list() == [300_000_000, 220_000_000]
    assert trace.frame["model"].to_list() == ["m", "m"]
    assert [row.line for row in trace.rejected] == [3]


def test_a_result_without_times_is_read_with_a_note():
    trace = results(text_of(result(start_times=None)))
    assert trace.frame["arrival_ns"].to_list() == [0, 1_000_000_000]
    assert trace.meta.notes[0].startswith("the source has no times")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"input_lens": None}, "a.json:1: the result has no lists of requests"),
        ({"ttfts": [0.1]}, r"a.json:1: ttfts must have 3 entries \(got 1\)"),
        ({"errors": 3}, "a.json:1: errors must be a list"),
        ({"input_lens": [100, -2, 3]}, "a.json:2: input_lens must be between 1"),
        ({"itls": [[0.1], ["x"], []]}, r"a.json:2: itls\[0\] must be a number"),
    ],
)
def test_faults_of_results_are_told_by_request(change, fault):
    with pytest.raises(TraceError, match=fault):
        results(text_of(result(**change)))


def test_the_formats_are_known_by_their_rows():
    assert looks_like_aiperf(text_of(record()).encode())
    assert looks_like_vllm_bench(text_of(result()).encode())
    assert not looks_like_vllm_bench(text_of(record()).encode())


@needs(AIPERF_SAMPLE)
def test_the_samples_are_read():
    assert load_trace(AIPERF_SAMPLE).frame["input_tokens"].to_list() == [100, 100]
    assert load_trace(VLLM_SAMPLE).frame["output_tokens"].to_list() == [3, 2]


PROMPT = {"model": "m", "prompt": "Hi there", "max_tokens": 3}


def workload(*requests, timestamp=21):
    usual = {"prompt": "Hi there", "prompt_length": 2, "output_length": 22, "session_id": 0}
    return {"timestamp": timestamp, "requests": list(requests) or [usual]}


def lifecycle(start=100.0, **more):
    info = {
        "request_metrics": {"text": {"input_tokens": 2}},
        "response_metrics": {"output_tokens": 3, "output_token_times": [100.25, 100.3],
                             "server_usage": {"prompt_tokens": 2, "completion_tokens": 3,
                                              "prompt_tokens_details": {"cached_tokens": 1}}},
    }  # fmt: skip
    return {"start_time": start, "end_time": 100.5, "request": json.dumps(PROMPT),
            "response": " a b c", "info": info, "error": None, **more}  # fmt: skip


def kept(start=1.0, **more):
    return {
        "request_id": "r1", "request_args": json.dumps({"body": PROMPT}), "output": " a b c",
        "info": {"timings": {"request_start": start, "first_token_iteration": 1.25,
                             "request_end": 1.5}},
        "input_metrics": {"text_tokens": 2, "cached_tokens": 1},
        "output_metrics": {"text_tokens": 3}, **more,
    }  # fmt: skip


def report(*requests):
    found = {"requests": {"successful": list(requests), "errored": [], "incomplete": []}}
    return {"metadata": {"guidellm_version": "0.8"}, "benchmarks": [found]}


def bench(**more):
    return {
        "request_id": "bench-0", "input_toks": 20, "output_toks": 5, "arrival_time": START / 1e9,
        "queued_ts": 10.0, "scheduled_ts": 10.25, "first_token_ts": 10.5, "last_token_ts": 11.0,
        **more,
    }  # fmt: skip


def test_workloads_of_aibrix_have_requests_of_a_moment():
    assert looks_like_aibrix(text_of(workload()).encode())
    messages = {"prompt": [{"role": "user", "content": "Hi"}], "Output Length": 4}
    rows = [workload(), workload(messages, messages, timestamp=900)]
    trace = reading(read_aibrix)(text_of(*rows))
    assert trace.frame["arrival_ns"].to_list() == [0, 879_000_000, 879_000_000]
    assert trace.frame["output_tokens"].to_list() == [22, 4, 4]
    bare = reading(read_aibrix)(text_of(workload({"Prompt Length": 9, "Output Length": 2})))
    assert not bare.has_content


@pytest.mark.parametrize(
    ("read", "looks", "row"),
    [
        (read_inference_perf, looks_like_inference_perf, [lifecycle()]),
        (read_inference_perf, looks_like_inference_perf,
         [lifecycle(info={"input_tokens": 2, "output_tokens": 3,
                          "output_token_times": [100.25, 100.3]})]),
        (read_guidellm, looks_like_guidellm, report(kept())),
    ],
)  # fmt: skip
def test_reports_have_what_was_asked_and_measured(read, looks, row):
    text = json.dumps(row, indent=1)
    assert looks(text.encode())
    found = reading(read, "a.json")(text).frame.row(0, named=True)
    assert (found["input_tokens"], found["output_tokens"]) == (2, 3)
    assert (found["recorded_input_tokens"], found["recorded_output_tokens"]) == (2, 3)
    assert (found["recorded_ttft_ns"], found["recorded_e2e_ns"]) == (250_000_000, 500_000_000)
    assert found.get("recorded_hit_tokens", 1) == 1


def test_measurements_of_llmservingsim_have_two_clocks():
    trace = reading(read_llmservingsim_bench)(text_of(bench(), bench(arrival_time=START / 1e9 + 1)))
    row = trace.frame.row(0, named=True)
    assert looks_like_llmservingsim_bench(text_of(bench()).encode())
    assert [row[f"recorded_{name}_ns"] for name in ("queue", "ttft", "e2e")] == [
        250_000_000, 500_000_000, 1_000_000_000
    ]  # fmt: skip
    assert trace.meta.clock_start_ns // 10**9 == START // 10**9


@pytest.mark.parametrize(
    ("read", "row", "fault"),
    [
        (read_aibrix, workload(timestamp="x"), "a.json:1: timestamp must be milliseconds"),
        (read_aibrix, {"timestamp": 1, "requests": 5}, "a.json:1: requests must be a list"),
        (read_aibrix, workload(5), "a.json:1: requests must hold objects"),
        (read_inference_perf, lifecycle(-1.0), "a.json:1: start_time must be seconds"),
        (read_inference_perf, lifecycle(request="{"), "a.json:1: request is JSON as text"),
        (read_guidellm, report(), "the report kept no requests"),
        (read_guidellm, report(kept(), kept(None)), "a.json:2: lacks request_start"),
        (read_guidellm, {"benchmarks": 5}, "a.json:1: benchmarks must be a list"),
        (
            read_guidellm,
            {"benchmarks": [{"requests": "{{ 1 }}"}]},
            "a.json:1: requests is JSON as text",
        ),
        (read_llmservingsim_bench, bench(arrival_time=None), "a.json:1: lacks arrival_time"),
        (read_llmservingsim_bench, bench(input_toks=0), "a.json:1: input_toks must be between"),
    ],
)
def test_faults_of_reports_are_told(read, row, fault):
    with pytest.raises(TraceError, match=fault):
        reading(read, "a.json")(text_of(row))


def test_failed_requests_of_a_report_are_put_aside():
    trace = reading(read_inference_perf)(text_of(lifecycle(), lifecycle(error={"type": "x"})))
    assert [row.line for row in trace.rejected] == [2]


@needs(AIPERF_SAMPLE)
@pytest.mark.parametrize(
    ("path", "name", "wanted"),
    [
        ("samples/inference_perf_per_request_old.json", "inference-perf", [3]),
        ("samples/inference_perf_per_request_v2026.json", "inference-perf", [3]),
        ("samples/guidellm_report_v2.json", "guidellm", [3]),
        ("samples/llmservingsim_bench_requests.jsonl", "llmservingsim-bench", [531, 769, 769]),
        ("cases/formats/aibrix_workload.jsonl", "aibrix", [22, 22]),
    ],
)
def test_all_samples_are_told_apart(path, name, wanted):
    trace = load_trace(SHARED / path)
    assert trace.meta.format == name
    assert trace.frame["output_tokens"].to_list() == wanted


ALL = [
    (records, record()), (results, result()), (reading(read_aibrix), workload()),
    (reading(read_inference_perf), lifecycle()), (reading(read_guidellm), report(kept())),
    (reading(read_llmservingsim_bench), bench()),
]  # fmt: skip


@settings(deadline=None, max_examples=250)
@given(data=st.data(), entry=st.sampled_from(ALL))
def test_anything_is_read_or_refused(data, entry):
    trace_of, row = entry
    rows = rows_of(**{name: st.just(value) for name, value in row.items()})
    text = data.draw(
        st.one_of(
            mutated(text_of(row, row)),
            json_lines(rows),
            rows.map(lambda one: json.dumps(report(one))),
            any_json.map(repr),
        )
    )
    requests_or_refusal(trace_of, text)
    requests_or_refusal(trace_of, text, max_rejected=0.9)
