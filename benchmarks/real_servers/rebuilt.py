"""What was sent to a real server, as a trace and a scenario of replay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.real_servers.recorded import SharedPrefixRun
from replay.config.scenario import Scenario
from replay.trace.frame import Trace, TraceMeta, canonical_trace
from replay.trace.readers import load_trace

NS_PER_S = 1_000_000_000
BLOCK_TOKENS = 16


def scenario_of(run: SharedPrefixRun, **engine: object) -> Scenario:
    """Return the scenario of a run: its server as it was started; more of `engine` where given."""
    return Scenario.model_validate(
        {
            "cache": {"block_size": BLOCK_TOKENS},
            "engine": {
                "name": run.engine,
                "max_batched_tokens": run.max_batched_tokens,
                "max_sequences": run.max_sequences,
                "baseline": False,
                **engine,
            },
            "gpu": {"name": run.gpu, "tensor_parallel": run.tensor_parallel},
            "model": {"name": run.model},
        }
    )


def trace_of(run: SharedPrefixRun) -> Trace:
    """Return the requests of a run.

    Distinct prompts have the recorded lengths, one at the middle of each of as many equal shares,
    in an order that is drawn once and for all; the prompts of a group, numbered next to each
    other, start with the same `system_prompt_tokens`. They are sent in turn, at the constant rate
    of each stage, a stage starting as the one before it has sent its last.

    Every answer has the tokens that were asked for. The recorded lengths of answers are the
    client's, who counted the tokens of a text: some say 4 where the time from first to last byte
    is that of 247 (the fastest hundredth of all answers takes four fifths of the median time,
    whatever the recorded lengths).
    """
    lengths = prompt_lengths(run)
    sent = np.concatenate([_arrivals_ns(run, stage) for stage in range(len(run.stages))])
    prompt = np.arange(len(sent)) % run.prompts
    group = prompt // run.prompts_per_group
    own = lengths[prompt] - run.system_prompt_tokens
    segments = np.stack([group, run.groups + prompt], axis=1)
    sizes = np.stack([np.full(len(sent), run.system_prompt_tokens), own], axis=1)
    frame = pl.DataFrame(
        {
            "arrival_ns": sent,
            "input_tokens": lengths[prompt],
            "output_tokens": np.full(len(sent), run.asked_output_tokens),
            "segments": pl.Series(segments.astype(np.uint64)).arr.to_list(),
            "segment_tokens": pl.Series(sizes.astype(np.int32)).arr.to_list(),
            "response_segment": (run.groups + run.prompts + np.arange(len(sent))).astype(np.uint64),
        }
    )
    return canonical_trace(frame, _meta(run.run))


def prompt_lengths(run: SharedPrefixRun) -> np.ndarray:
    """Return the tokens of each distinct prompt, int64[prompts].

    Raises ValueError where one leaves its answer no room in the context of the server.
    """
    shares = (np.arange(run.prompts) + 0.5) / run.prompts
    tokens = np.rint(run.all.prompt_tokens.at(shares)).astype(np.int64)
    tokens = np.maximum(tokens, run.system_prompt_tokens + 1)
    longest = int(tokens.max()) + run.asked_output_tokens
    if longest > run.max_model_len:
        raise ValueError(f"{run.run}: {longest} tokens in a context of {run.max_model_len}")
    return np.random.default_rng(0).permutation(tokens)


def _arrivals_ns(run: SharedPrefixRun, stage: int) -> np.ndarray:
    one = run.stages[stage]
    begin_s = sum(before.duration_s for before in run.stages[:stage])
    count = one.answers.requests + one.answers.failures
    return np.rint((begin_s + np.arange(count) / one.rate_per_s) * NS_PER_S).astype(np.int64)


def stage_of(run: SharedPrefixRun) -> np.ndarray:
    """Return the stage of each request of `trace_of`, int64[R]."""
    counts = [one.answers.requests + one.answers.failures for one in run.stages]
    return np.repeat(np.arange(len(counts)), counts)


def _meta(name: str) -> TraceMeta:
    return TraceMeta(
        path=name, name=name, sha256="", format="recorded load test", block_size=None,
        content="known by segments", sessions="none",
    )  # fmt: skip


# --- request by request ---------------------------------------------------------------------

RTX_4090_BLOCKS = 2_588  # of 16 tokens: what the server's start-up log printed


def sent_to_4090(prompts: Path, measured: Path) -> tuple[Trace, pl.DataFrame]:
    """Return the prompts of a file at the times a server received them, and what it measured.

    Raises ValueError where prompts and measurements are not of the same requests.
    """
    trace = load_trace(prompts)
    rows = pl.read_csv(measured)
    for name, column in (("input_tokens", "input_toks"), ("output_tokens", "output_toks")):
        if trace.frame[name].to_list() != rows[column].to_list():
            raise ValueError(f"{measured.name}: {column} are not those of {prompts.name}")
    arrival_ns = (rows["arrival_s"] * NS_PER_S).round().cast(pl.Int64)
    return replace(trace, frame=trace.frame.with_columns(arrival_ns.alias("arrival_ns"))), rows


def scenario_of_4090(**engine: object) -> Scenario:
    """Return the scenario of that server: Llama-3.1-8B on one RTX 4090."""
    return Scenario.model_validate(
        {
            "cache": {"block_size": BLOCK_TOKENS, "capacity": f"{RTX_4090_BLOCKS}blocks"},
            "engine": {"name": "vllm", "baseline": False, **engine},
            "gpu": {"name": "rtx-4090"},
            "model": {"name": "llama-3.1-8b"},
        }
    )
