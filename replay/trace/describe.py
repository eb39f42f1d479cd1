"""The facts of a trace: its shape, its arrivals, and what of its content repeats.

`describe` gives groups of facts; a fact's name says its unit and its definition, and no name is
in two groups, so the groups may be merged into one flat row.
"""

from __future__ import annotations

import numpy as np

from replay.trace.arrivals import QUANTISED_BELOW, WINDOWS_S, burstiness
from replay.trace.ceilings import ceilings
from replay.trace.frame import Trace
from replay.trace.reuse import (
    TOP_PREFIX,
    EdgeUses,
    edge_uses,
    hit_sources,
    ideal_hit_rates,
    ratio,
    top_prefix,
    weighted_quantiles,
)
from replay.trace.separation import sharing_notes
from replay.trace.tree import PrefixTree
from replay.units import NS_PER_S

Fact = int | float | str | None
Facts = dict[str, Fact]

TOKEN_EXACT_BLOCK = 16  # what content without a block size of its own is counted in
UNKNOWN_REUSE = "no content: reuse unknown (the trace has lengths only)"
LENGTH_SHARES = {"p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "p99": 0.99}
REUSE_SHARES = {"p10": 0.1, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p90": 0.9, "p99": 0.99}
CONTENT_FACTS = {
    "content": (
        "blocks", "unique_blocks", "unique_tokens", "blocks_used_once_share",
        *TOP_PREFIX,
    ),
    "ceilings": (
        "content_ceiling_tokens", "content_ceiling_token_hit_rate", "ceiling_block_size",
        "block_ceiling_tokens", "block_ceiling_token_hit_rate", "granularity_tokens",
        "granularity_token_share",
    ),
    "sources": (
        "session_hit_tokens", "cross_request_hit_tokens", "global_prefix_hit_tokens",
        "session_hit_token_share", "cross_request_hit_token_share",
        "global_prefix_hit_token_share",
    ),
    "ideal": (
        "ideal_token_hit_rate", "ideal_block_hit_rate", "ideal_full_block_hit_rate",
        "ideal_mean_request_token_hit_rate", "ideal_mean_request_block_hit_rate",
        "ideal_mean_request_full_block_hit_rate", "ideal_request_hit_rate",
    ),
    "reuse": tuple(
        f"{prefix}{name}_{label}"
        for prefix in ("", "nonhot_")
        for name in ("reuse_distance_blocks", "reuse_time_s")
        for label in REUSE_SHARES
    ),
}  # fmt: skip


def describe(trace: Trace, tree: PrefixTree | None = None) -> dict[str, Facts]:
    """Return the facts of a trace by group; those about content are None without `tree`.

    Groups: trace, arrivals, lengths, sessions, content, ceilings, sources, ideal, reuse. `ceilings`
    are what content and what whole blocks allow (see replay/trace/ceilings.py), `sources` who put
    the tokens of the content ceiling there, `ideal` hit rates of an unbounded cache in every usual
    definition. A trace of lengths has no content to compare, so give no tree for it; where content
    is known to the token, blocks are of `TOKEN_EXACT_BLOCK` tokens. Shares and rates are 0..1.
    """
    uses = None
    if tree is not None and trace.has_content:
        uses = edge_uses(tree, trace.meta.block_size or TOKEN_EXACT_BLOCK)
    return {
        "trace": _trace_facts(trace),
        "arrivals": _arrival_facts(trace),
        "lengths": _length_facts(trace),
        "sessions": _session_facts(trace),
        **_content_facts(trace, uses),
    }


def notes(trace: Trace) -> list[str]:
    """Return what a reader of the facts should know about the quality of the trace."""
    found = [*trace.meta.notes, *sharing_notes(trace, content_known=trace.has_content)]
    spread = burstiness(trace.column("arrival_ns"))
    if spread.tick_ns is not None:
        found.append(
            f"arrivals are on ticks of about {spread.tick_ns / NS_PER_S:.3g} s (distinct arrivals "
            f"{spread.distinct_ratio:.1%} of requests, under {QUANTISED_BELOW:.0%}): "
            "interarrival_cv shows the clock, interarrival_cv_dequantised the load"
        )
    if not trace.has_content:
        found.append(UNKNOWN_REUSE)
    return found


def _trace_facts(trace: Trace) -> Facts:
    return {
        "name": trace.meta.name,
        "format": trace.meta.format,
        "sha256": trace.meta.sha256,
        "content_identity": trace.meta.content,
        "block_size_tokens": trace.meta.block_size,
        "rejected_rows": trace.meta.rejected_rows,
    }


def _arrival_facts(trace: Trace) -> Facts:
    arrival = trace.column("arrival_ns")
    duration_s = int(arrival[-1] - arrival[0]) / NS_PER_S
    spread = burstiness(arrival)
    facts: Facts = {
        "requests": trace.requests,
        "duration_s": duration_s,
        "requests_per_s": trace.requests / duration_s if duration_s else None,
        "distinct_arrival_share": spread.distinct_ratio,
        "arrival_tick_s": None if spread.tick_ns is None else spread.tick_ns / NS_PER_S,
        "interarrival_cv": spread.cv,
        "interarrival_cv_dequantised": spread.cv_dequantised,
    }
    return facts | {f"arrival_dispersion_{s}s": spread.dispersion[s] for s in WINDOWS_S}


def _length_facts(trace: Trace) -> Facts:
    facts: Facts = {}
    for name in ("input_tokens", "output_tokens"):
        values = trace.column(name)
        facts[f"{name}_total"] = int(values.sum())
        facts[f"{name}_mean"] = float(values.mean())
        for label, share in LENGTH_SHARES.items():
            facts[f"{name}_{label}"] = float(np.quantile(values, share))
        facts[f"{name}_max"] = int(values.max())
    return facts


def _session_facts(trace: Trace) -> Facts:
    facts: Facts = dict.fromkeys(
        ("sessions", "turns_mean", "turns_p50", "turns_p95", "turns_max", "single_turn_share")
    )
    facts["sessions_obtained"] = trace.meta.sessions
    session = _sessions(trace)
    if session is None:
        return facts
    turns = np.unique(session, return_counts=True)[1]
    return facts | {
        "sessions": len(turns),
        "turns_mean": float(turns.mean()),
        "turns_p50": float(np.quantile(turns, 0.5)),
        "turns_p95": float(np.quantile(turns, 0.95)),
        "turns_max": int(turns.max()),
        "single_turn_share": float((turns == 1).mean()),
    }


def _content_facts(trace: Trace, uses: EdgeUses | None) -> dict[str, Facts]:
    """Return the groups of `CONTENT_FACTS`."""
    if uses is None:
        return {group: dict.fromkeys(names) for group, names in CONTENT_FACTS.items()}
    block_size = trace.meta.block_size or TOKEN_EXACT_BLOCK
    once = int(uses.blocks[uses.uses == 1].sum())
    unique = int(uses.blocks.sum())
    return {
        "content": {
            "blocks": int((-(-uses.tree.input_tokens // block_size)).sum()),
            "unique_blocks": unique,
            "unique_tokens": int(uses.tokens.sum()),
            "blocks_used_once_share": ratio(once, unique),
            **top_prefix(uses),
        },
        "ceilings": _ceiling_facts(uses.tree, block_size),
        "sources": dict(hit_sources(uses.tree, _sessions(trace))),
        "ideal": dict(ideal_hit_rates(uses, block_size)),
        "reuse": _reuse_facts(uses, trace.column("arrival_ns")),
    }


def _ceiling_facts(tree: PrefixTree, block_size: int) -> Facts:
    found = ceilings(tree, block_size)
    return {
        "content_ceiling_tokens": found.content_ceiling_tokens,
        "content_ceiling_token_hit_rate": ratio(found.content_ceiling_tokens, found.input_tokens),
        "ceiling_block_size": block_size,
        "block_ceiling_tokens": found.block_ceiling_tokens,
        "block_ceiling_token_hit_rate": ratio(found.block_ceiling_tokens, found.input_tokens),
        "granularity_tokens": found.granularity_tokens,
        "granularity_token_share": ratio(found.granularity_tokens, found.input_tokens),
    }


def _reuse_facts(uses: EdgeUses, arrival_ns: np.ndarray) -> Facts:
    """Return quantiles over reused blocks: all of them, and those that few requests use."""
    times = arrival_ns[uses.request] - arrival_ns[uses.request[uses.before]]
    weights = uses.blocks[uses.edge]
    facts: Facts = {}
    for prefix, chosen in (("", uses.hit), ("nonhot_", uses.hit & ~uses.hot)):
        for name, values in (
            ("reuse_distance_blocks", uses.distance_blocks[chosen]),
            ("reuse_time_s", times[chosen] / NS_PER_S),
        ):
            found = weighted_quantiles(values, weights[chosen], tuple(REUSE_SHARES.values()))
            facts |= {
                f"{prefix}{name}_{label}": value
                for label, value in zip(REUSE_SHARES, found, strict=True)
            }
    return facts


def _sessions(trace: Trace) -> np.ndarray | None:
    """Return session ids, int64[R]; a request without one is a session of its own."""
    if not trace.has_sessions:
        return None
    session = trace.frame["session_id"]
    unknown = session.is_null().to_numpy()
    known = session.fill_null(0).to_numpy()
    return np.where(unknown, known.max() + 1 + np.arange(trace.requests), known)
