"""What a generated trace is like, in a few lines."""

from __future__ import annotations

import numpy as np

from replay.trace.frame import Trace
from replay.trace.tree import PrefixTree, build_tree
from replay.units import NS_PER_S, format_duration


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
