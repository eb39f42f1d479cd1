"""Token ids for traces that know their content as segments.

Nothing about a real model is in them: they are ids that are equal where the content is, for tools
that take token ids and no segments.

Two segments that follow the same content should differ from their first token on, or a tree built
from tokens shares more than the segments say. First tokens are a permutation of the segment's
number modulo the vocabulary, so segments numbered below it all differ. Of others, two have the
same first token where their numbers are equal modulo the vocabulary, one pair in `vocabulary`;
the tree from tokens then shares that one token more, and a second one as rarely again.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from replay.errors import InputError
from replay.kernels.tree.tokens import fill_segments
from replay.trace.frame import Trace, canonical_trace
from replay.trace.lists import list_column
from replay.trace.units import units_of

VOCABULARY = 128_256  # Llama 3: https://huggingface.co/meta-llama/Meta-Llama-3-8B, config.json
_VOCABULARIES = range(2, 2**32 + 1)


def tokens_of(trace: Trace, *, vocabulary: int = VOCABULARY) -> Trace:
    """Return the trace with `tokens` and `response_tokens` made from its segments, replacing any.

    Deterministic: the token at an offset of a segment depends on these two and the vocabulary
    alone. A response of unknown content stays null. Raises InputError for a trace without
    segments and for a vocabulary out of range, TraceError where segments do not add up.
    """
    if vocabulary not in _VOCABULARIES:
        raise InputError(f"vocabulary must be between 2 and 2^32 (got {vocabulary})")
    if not trace.has_segments:
        raise InputError(
            "the trace has no segments to make token ids from",
            hint="traces that were generated have them",
        )
    prompts = _prompts(trace, vocabulary)
    columns = [prompts.alias("tokens")]
    if "response_segment" in trace.frame.columns:
        columns.append(_responses(trace, vocabulary).alias("response_tokens"))
    note = f"token ids made from segments, {vocabulary} in the vocabulary"
    made = canonical_trace(trace.frame.with_columns(columns), trace.meta.noting(note))
    return replace(made, rejected=trace.rejected)


def _prompts(trace: Trace, vocabulary: int) -> pl.Series:
    flat = units_of(trace)
    counts = trace.column("input_tokens")
    tokens = fill_segments(
        flat.offsets,
        flat.prompt_stops,
        flat.units,
        flat.unit_tokens,
        _starts(counts),
        np.uint64(vocabulary),
    )
    return list_column(tokens, counts)


def _responses(trace: Trace, vocabulary: int) -> pl.Series:
    known = trace.frame["response_segment"].is_not_null().to_numpy()
    counts = np.where(known, trace.column("output_tokens"), 0)
    places = np.arange(len(counts), dtype=np.int64)
    segments = trace.frame["response_segment"].fill_null(0).to_numpy()
    starts = _starts(counts)
    tokens = fill_segments(places, places + 1, segments, counts, starts, np.uint64(vocabulary))
    return list_column(tokens, counts)


def _starts(counts: np.ndarray) -> np.ndarray:
    starts = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    return starts
