"""Statistics of traces, named as in `profile_targets`, each with the definition its source uses."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.profile_targets import Target
from replay.trace.arrivals import burstiness
from replay.trace.content import block_ids_of
from replay.trace.frame import Trace
from replay.trace.readers import load_trace
from replay.trace.reuse import EdgeUses, edge_uses, ideal_hit_rates, weighted_quantiles
from replay.trace.separation import separated
from replay.trace.tree import build_tree
from replay.units import NS_PER_S
from replay.workload.profiles import load_profile

CONVERSATION = (
    Path(__file__).resolve().parents[2] / "shared/traces/mooncake/conversation_trace.jsonl"
)
BLOCK_TOKENS = 512
CAPACITIES = {"1k": 1000, "2k": 2000, "4k": 4000, "8k": 8000, "16k": 16000, "32k": 32000,
              "64k": 64000, "inf": 1 << 60}  # fmt: skip
REUSE_FROM_S = 10  # sooner reuse is a matter of the conversation trace's 3 s clock
SYNTHETIC_CAPACITIES = {"1k": 1000, "10k": 10_000, "30k": 30_000, "50k": 50_000}
REPLICAS = (2, 4, 8, 16)
WEKA_BLOCK_TOKENS = 64
WHOLE_SHARE = 0.85  # sessions that start in the last 15% of a trace may be cut off by its end

Statistics = dict[str, float]


def chat_targets() -> dict[str, Target]:
    """Return what the real conversation trace has. Raises FileNotFoundError where it is absent."""
    real = conversation()
    statistics = content_statistics(real)
    source = "conversation_trace.jsonl"
    found = {
        f"LRU block hit rate at {label}": Target(statistics[label], source, 0.04, absolute=True)
        for label in CAPACITIES
    }
    found["LRU block hit rate at inf"] = Target(statistics["inf"], source, 0.03, absolute=True)
    found["reuse time p50 s"] = Target(statistics["reuse p50"], source, 0.20)
    found["reuse time p90 s"] = Target(statistics["reuse p90"], source, 0.20)
    found["input KS distance"] = Target(0.0, source, 0.03, at_most=True)
    found["output KS distance"] = Target(0.0, source, 0.015, at_most=True)
    found["input tokens mean"] = Target(float(real.column("input_tokens").mean()), source)
    found["requests per s"] = Target(rate(real), source)
    found["Spearman(response, response before)"] = Target(0.65, "linked requests of the trace")
    return found


def chat_statistics(trace: Trace) -> Statistics:
    """Return the statistics of `chat_targets` for a trace of segments."""
    real, content = conversation(), content_statistics(in_blocks(trace))
    found = {f"LRU block hit rate at {label}": content[label] for label in CAPACITIES}
    found["reuse time p50 s"], found["reuse time p90 s"] = (
        content["reuse p50"],
        content["reuse p90"],
    )
    for key in ("input", "output"):
        column = f"{key}_tokens"
        found[f"{key} KS distance"] = ks_distance(trace.column(column), real.column(column))
    found["input tokens mean"] = float(trace.column("input_tokens").mean())
    found["requests per s"] = rate(trace)
    child, parent = links(trace)
    output = trace.column("output_tokens")
    found["Spearman(response, response before)"] = spearman(output[child], output[parent])
    return found


def conversation() -> Trace:
    """Return the real conversation trace. Raises FileNotFoundError where it is absent."""
    if not CONVERSATION.exists():
        raise FileNotFoundError(f"{CONVERSATION.name} is not beside the checkout")
    return load_trace(CONVERSATION)


def content_statistics(trace: Trace) -> Statistics:
    """Return the LRU block hit rate at each of CAPACITIES and the reuse times of a block trace."""
    uses = edge_uses(build_tree(trace), BLOCK_TOKENS)
    again = uses.hit & ~uses.hot
    times_s = reuse_times_s(uses, trace)
    again &= times_s > REUSE_FROM_S
    p50, p90 = weighted_quantiles(times_s[again], uses.blocks[uses.edge[again]], (0.5, 0.9))
    return lru_hit_rates(uses, CAPACITIES) | {"reuse p50": p50 or 0.0, "reuse p90": p90 or 0.0}


def human_statistics(trace: Trace) -> Statistics:
    """Return the statistics of `human_targets`; rounds are of sessions seen from their start."""
    child, parent = links(trace)
    arrival_s = trace.column("arrival_ns") / NS_PER_S
    inputs, outputs = trace.column("input_tokens"), trace.column("output_tokens")
    gaps = arrival_s[child] - arrival_s[parent]
    session, arrivals = trace.column("session_id"), arrival_s
    whole = whole_sessions(trace)
    rounds, _ = per_session(session[whole], arrivals[whole])
    query = inputs[child] - inputs[parent] - outputs[parent]
    late = range(30, 80)
    at_least = np.array([(rounds >= n).sum() for n in range(rounds.max() + 2)])
    hazard = at_least[1:] / np.maximum(at_least[:-1], 1)
    return {
        **quantiles("gap {} s", gaps, (50, 90, 99)),
        "Spearman(gap, response before)": spearman(gaps, outputs[parent]),
        **quantiles("rounds {}", rounds, (50, 90)),
        "rounds mean": float(rounds.mean()),
        "rounds max": float(rounds.max()),
        "single-round share": float((rounds == 1).mean()),
        "P(second round)": float(hazard[1]),
        "P(further round) early": float(hazard[2:5].mean()),
        "P(further round) late": float(at_least[late.stop] / at_least[late.start])
        ** (1 / len(late)),
        **quantiles("query {}", query, (5, 25, 50, 75, 95, 99)),
        "query mean": float(query.mean()),
        **quantiles("response {}", outputs, (5, 50, 95, 99)),
        "response mean": float(outputs.mean()),
    }


def agentic_statistics(trace: Trace) -> Statistics:
    """Return the statistics of `agentic_targets`, of the sessions that the trace has whole.

    As in the source, a session hits only what it put there itself.
    """
    session, turn = trace.column("session_id"), trace.column("turn")
    whole = whole_sessions(trace)
    inputs, outputs = trace.column("input_tokens"), trace.column("output_tokens")
    arrival_s = trace.column("arrival_ns") / NS_PER_S
    uses = edge_uses(build_tree(separated(trace, ("session_id",))), WEKA_BLOCK_TOKENS)
    hit_blocks = uses.hits_by_request(uses.tokens) // WEKA_BLOCK_TOKENS
    hits, blocks = hit_blocks[whole], (inputs // WEKA_BLOCK_TOKENS)[whole]
    child, parent = links(trace)
    child, parent = child[whole[child]], parent[whole[child]]
    gaps = arrival_s[child] - arrival_s[parent]
    time = load_profile("agentic_coding").profile.clients[0].response_time
    think = gaps - time.first_token_s - time.per_token_s * outputs[parent]
    appended = inputs[child] - WEKA_BLOCK_TOKENS * hit_blocks[child]
    first = trace.frame["segment_tokens"].list.first().to_numpy()
    counts, lasting = per_session(session[whole], arrival_s[whole])
    return {
        **quantiles("input {}", inputs[whole], (5, 25, 50, 75, 95, 99)),
        "input mean": float(inputs[whole].mean()),
        **quantiles("output {}", outputs[whole], (5, 50, 95, 99)),
        "output mean": float(outputs[whole].mean()),
        "ideal block hit rate": hits.sum() / blocks.sum(),
        "ideal token hit rate": WEKA_BLOCK_TOKENS * hits.sum() / inputs[whole].sum(),
        "share of requests that hit": float((hits > 0).mean()),
        **quantiles("request hit rate {}", hits / np.maximum(blocks, 1), (25, 50, 75, 90)),
        **quantiles("appended {}", appended, (50, 90, 99)),
        "share of rounds that shrink": float((inputs[child] < inputs[parent]).mean()),
        **quantiles("gap {} s", gaps, (50,)),
        **quantiles("think {} s", think, (50, 75, 95)),
        **quantiles("requests per session {}", counts, (50, 90)),
        "requests per session mean": float(counts.mean()),
        **quantiles("session {} s", lasting, (50,)),
        **quantiles("first input {}", inputs[whole & (turn == 0)], (25, 75)),
        **quantiles("tools and system {}", first[whole & (turn == 0)], (50,)),
    }


def document_statistics(trace: Trace) -> Statistics:
    """Return the statistics of `document_targets`."""
    blocks = in_blocks(trace)
    uses = edge_uses(build_tree(blocks), BLOCK_TOKENS)
    arrivals = burstiness(trace.column("arrival_ns"))
    inputs, outputs = trace.column("input_tokens"), trace.column("output_tokens")
    child, parent = links(trace)
    total = int((-(-inputs // BLOCK_TOKENS)).sum())
    return {
        "duration s": float(trace.column("arrival_ns")[-1] / NS_PER_S),
        "requests per s": rate(trace),
        "inter-arrival CV": arrivals.cv or 0.0,
        **{f"dispersion {s} s": arrivals.dispersion[s] or 0.0 for s in (1, 10, 60)},
        **quantiles("input {}", inputs, (5, 25, 50, 75, 95, 99)),
        "input mean": float(inputs.mean()),
        **quantiles("output {}", outputs, (5, 50, 95, 99)),
        "output mean": float(outputs.mean()),
        "Spearman(input, output)": spearman(inputs, outputs),
        "Spearman(response, response before)": spearman(outputs[child], outputs[parent]),
        "blocks": float(total),
        "unique blocks": float(uses.blocks.sum()),
        **_ideal(uses),
        **_reuse(uses, blocks),
        **_popularity(uses),
        **_groups(uses, blocks),
        "requests below 512 tokens": float((inputs < BLOCK_TOKENS).sum()),
        **{
            f"LRU block hit rate at {label}": value
            for label, value in lru_hit_rates(uses, SYNTHETIC_CAPACITIES).items()
        },
        **_token_hits_by_block_size(uses),
        **_hits_by_replicas(uses, total),
    }


def _ideal(uses: EdgeUses) -> Statistics:
    rates = ideal_hit_rates(uses, BLOCK_TOKENS)
    names = {
        "ideal block hit rate": "ideal_block_hit_rate",
        "ideal token hit rate": "ideal_token_hit_rate",
        "ideal full-block hit rate": "ideal_full_block_hit_rate",
        "mean request block hit rate": "ideal_mean_request_block_hit_rate",
        "mean request token hit rate": "ideal_mean_request_token_hit_rate",
        "mean request full-block hit rate": "ideal_mean_request_full_block_hit_rate",
        "share of requests that hit": "ideal_request_hit_rate",
    }
    own = uses.hits_by_request(uses.blocks) / -(-uses.tree.input_tokens // BLOCK_TOKENS)
    found = {name: float(rates[key] or 0.0) for name, key in names.items()}
    return found | quantiles("request hit rate {}", own, (50, 75, 90))


def _reuse(uses: EdgeUses, trace: Trace) -> Statistics:
    again = uses.hit & ~uses.hot
    weights = uses.blocks[uses.edge[again]]
    found: Statistics = {}
    for name, unit, values, percents in (
        ("distance", "", uses.distance_blocks, (10, 50, 90, 99)),
        ("time", " s", reuse_times_s(uses, trace), (10, 25, 50, 75, 90, 99)),
    ):
        shares = tuple(percent / 100 for percent in percents)
        quantile = weighted_quantiles(values[again], weights, shares)
        for percent, value in zip(percents, quantile, strict=True):
            found[f"reuse {name} p{percent}{unit}"] = value or 0.0
    return found


def _popularity(uses: EdgeUses) -> Statistics:
    """Return how uses are spread over blocks; the slope is that of log uses on log rank."""
    counts = np.sort(np.repeat(uses.uses, uses.blocks))[::-1]
    hits = counts - 1
    rank = np.arange(1, len(counts) + 1)
    fitted = (rank > 10) & (counts > 1)
    slope = np.polyfit(np.log(rank[fitted]), np.log(counts[fitted]), 1)[0]
    return {
        "blocks used once": float((counts == 1).mean()),
        **{
            f"hits of top {label} blocks": float(hits[: int(len(hits) * share)].sum() / hits.sum())
            for label, share in (("0.1%", 0.001), ("1%", 0.01), ("10%", 0.1))
        },
        "Zipf slope": float(slope),
        "most used block": float(counts[0]),
    }


def _groups(uses: EdgeUses, trace: Trace) -> Statistics:
    """Return what requests that share their first block are like: questions about a document."""
    first = trace.frame["block_ids"].list.first().to_numpy()
    _, group, sizes = np.unique(first, return_inverse=True, return_counts=True)
    order = np.argsort(group, kind="stable")
    follows = np.flatnonzero(np.diff(group[order], prepend=-1) == 0)
    arrival_s = trace.column("arrival_ns") / NS_PER_S
    hits = uses.hits_by_request(uses.blocks)
    shared = [
        np.median(hits[members[1:]])
        for members in np.split(order, np.cumsum(sizes)[:-1])
        if len(members) > 1
    ]
    tails = (uses.tree.input_tokens - BLOCK_TOKENS * hits)[hits > 0]
    gaps_s = arrival_s[order[follows]] - arrival_s[order[follows - 1]]
    questions = sizes[sizes > 1]
    return {
        "first-block groups": float(len(sizes)),
        "groups of one": float((sizes == 1).sum()),
        "document groups": float(len(questions)),
        "questions mean": float(questions.mean()),
        **quantiles("questions {}", questions, (50, 90, 99)),
        **quantiles("shared blocks {}", np.array(shared), (50, 90)),
        **quantiles("tail {}", tails, (50,)),
        **quantiles("question gap {} s", gaps_s, (50,)),
    }


def _token_hits_by_block_size(uses: EdgeUses) -> Statistics:
    """Return ideal token hit rates when only whole blocks of a size are matched."""
    hits = uses.hits_by_request(uses.full_blocks) * BLOCK_TOKENS
    total = uses.tree.input_tokens.sum()
    return {
        f"token hit rate, blocks of {size}": float((hits // size * size).sum() / total)
        for size in (512, 1024, 2048, 4096, 8192)
    }


def _hits_by_replicas(uses: EdgeUses, total_blocks: int) -> Statistics:
    """Return ideal block hit rates when each request goes to one of some caches at random."""
    rng = np.random.default_rng(0)
    weights = uses.blocks[uses.edge]
    found = {}
    for replicas in REPLICAS:
        place = rng.integers(replicas, size=uses.tree.requests)[uses.request]
        first = np.unique(uses.edge * replicas + place, return_index=True)[1]
        missed = weights[first].sum()
        found[f"block hit rate, {replicas} replicas"] = float(1 - missed / total_blocks)
    return found


def in_blocks(trace: Trace, block_tokens: int = BLOCK_TOKENS) -> Trace:
    """Return a trace of segments as ids of its prompts' blocks alone, like published traces."""
    blocks = block_ids_of(trace, block_tokens)
    known = ("segments", "segment_tokens", "response_segment", "response_block_ids")
    frame = blocks.frame.drop(known, strict=False)
    return Trace(frame, blocks.meta)


def lru_hit_rates(uses: EdgeUses, capacities: dict[str, int]) -> Statistics:
    """Return the share of all blocks that an LRU cache of some blocks finds, by label."""
    weights = uses.blocks[uses.edge]
    return {
        label: float(weights[uses.hit & (uses.distance_blocks < blocks)].sum() / weights.sum())
        for label, blocks in capacities.items()
    }


def reuse_times_s(uses: EdgeUses, trace: Trace) -> np.ndarray:
    """Return the seconds since the last use of each use of an edge; no sense where it is new."""
    arrival_s = trace.column("arrival_ns") / NS_PER_S
    return arrival_s[uses.request] - arrival_s[uses.request[uses.before]]


def links(trace: Trace) -> tuple[np.ndarray, np.ndarray]:
    """Return (child, parent) of the requests that have a parent in the trace."""
    parent = trace.frame["parent_request_id"].fill_null(-1).to_numpy()
    child = np.flatnonzero(parent >= 0)
    return child, parent[child]


def whole_sessions(trace: Trace) -> np.ndarray:
    """Return which requests are of sessions that start in the trace, and not late, bool[R]."""
    session, arrival = trace.column("session_id"), trace.column("arrival_ns")
    starts = (trace.column("turn") == 0) & (arrival < WHOLE_SHARE * arrival[-1])
    return np.isin(session, session[starts])


def per_session(session: np.ndarray, arrival_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (requests, seconds from first to last arrival) of each session."""
    order = np.argsort(session, kind="stable")
    starts = np.flatnonzero(np.diff(session[order], prepend=-1))
    counts = np.diff(starts, append=len(order))
    arrival_s = arrival_s[order]
    return counts, arrival_s[starts + counts - 1] - arrival_s[starts]


def quantiles(name: str, values: np.ndarray, percents: tuple[int, ...]) -> Statistics:
    """Return quantiles by name, in which `{}` becomes p50 and the like."""
    found = np.quantile(values, [percent / 100 for percent in percents])
    return {
        name.format(f"p{percent}"): float(value)
        for percent, value in zip(percents, found, strict=True)
    }


def rate(trace: Trace) -> float:
    """Return requests per second from the first arrival to the last."""
    return trace.requests / (trace.column("arrival_ns")[-1] / NS_PER_S)


def ks_distance(some: np.ndarray, others: np.ndarray) -> float:
    """Return the largest difference of two empirical distribution functions."""
    some, others = np.sort(some), np.sort(others)
    at = np.concatenate([some, others])
    shares = [np.searchsorted(x, at, side="right") / len(x) for x in (some, others)]
    return float(np.abs(shares[0] - shares[1]).max())


def spearman(some: np.ndarray, others: np.ndarray) -> float:
    """Return the rank correlation of two quantities, ties sharing their mean rank."""
    return float(np.corrcoef(_ranks(some), _ranks(others))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[place]
