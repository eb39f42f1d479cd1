"""Prompts as segments: names made ids that mean the same in every file, and their columns."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import polars as pl

from replay.trace.lists import list_column


def segment_id(*names: str) -> int:
    """Return 64 bits for a segment of that name, the same in every process and file."""
    text = "\0".join(names).encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


Integers = Sequence[int] | np.ndarray


def segment_columns(prompts: Sequence[tuple[Integers, Integers]]) -> list[pl.Series]:
    """Return `segments` and `segment_tokens` of prompts: ids, and how much there is of each.

    Both may be arrays. Segments of no tokens are left out by whoever makes the lists.
    """
    counts = np.array([len(ids) for ids, _ in prompts], np.int64)
    none = np.zeros(0, np.uint64)
    ids = [np.asarray(ids, np.uint64) for ids, _ in prompts]
    tokens = [np.asarray(tokens, np.int64) for _, tokens in prompts]
    return [
        list_column(np.concatenate([none, *ids]), counts).alias("segments"),
        list_column(np.concatenate([none, *tokens]).astype(np.int32), counts).alias(
            "segment_tokens"
        ),
    ]
