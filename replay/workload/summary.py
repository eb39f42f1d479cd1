"""What a generated trace is like, in a few lines."""

from __future__ import annotations

import numpy as np

from replay.trace.frame import Trace
from replay.trace.tree import PrefixTree, build_tree
from replay.units import NS_PER_S, format_duration

RATE_TOLERANCE = 0.05


def summary(trace: Trace) -> list[tuple[str, str]]:
    """Return labels and values: size, load, lengths, and how much of the prompts repeats."""
    frame = trace.frame
    span_ns = int(trace.column("arrival_ns")[-1])
    inputs, outputs = trace.column("input_tokens"), trace.column("output_tokens")
    length = format_duration(span_ns) if span_ns else "no time"
    rate = f", {trace.requests / (span_ns / NS_PER_S):,.4g} a second" if span_ns else ""
    lines = [
        ("requests", f"{trace.requests:,} in {length}{rate}"),
        ("sessions", f"{frame['session_id'].n_unique():,}"),
        ("input", f"{inputs.mean():,.0f} tokens a request, at most {inputs.max():,}"),
        ("output", f"{outputs.mean():,.0f} tokens a request, at most {outputs.max():,}"),
        ("seen before", f"{seen_share(build_tree(trace)):.1%} of prompt tokens, in any request"),
    ]
    forgetful = int((trace.column("forgotten_tokens") > 0).sum())
    if forgetful:
        text = f"in {forgetful / trace.requests:.1%} of requests the window leaves history out"
        lines.append(("forgotten", text))
    return lines


def rate_missed(trace: Trace, wanted_per_s: float | None) -> list[str]:
    """Return a note where a trace has noticeably fewer or more requests a second than wanted.

    Sessions start as often as the rate takes in the long run. A trace that is short against its
    sessions lacks the later turns of those that had just begun, and chance moves the rest.
    """
    span_ns = int(trace.column("arrival_ns")[-1])
    if wanted_per_s is None or not span_ns:
        return []
    found_per_s = trace.requests / (span_ns / NS_PER_S)
    if abs(found_per_s / wanted_per_s - 1) <= RATE_TOLERANCE:
        return []
    return [
        f"the trace has {found_per_s:.3g} requests a second, {found_per_s / wanted_per_s - 1:+.0%} "
        f"of the {wanted_per_s:g} asked for, which hold in the long run: ask for a longer trace, "
        "or for a longer warm_up in the profile"
    ]


def seen_share(tree: PrefixTree) -> float:
    """Return the share of prompt tokens that an earlier prompt or response has had before.

    It is the token hit rate of an unbounded cache that keeps responses, requests one by one.
    """
    first = np.full(tree.edges, len(tree.path_edges), np.int64)
    first[tree.path_edges[::-1]] = np.arange(len(tree.path_edges) - 1, -1, -1)
    lengths = np.diff(tree.path_offsets)
    in_prompt = np.arange(len(tree.path_edges)) < np.repeat(tree.prompt_stops, lengths)
    new = np.flatnonzero(np.append(in_prompt, False)[first])
    cold = int((tree.edge_stop[new] - tree.edge_start[new]).sum())
    return 1 - cold / int(tree.input_tokens.sum())
