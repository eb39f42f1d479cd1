"""Random traces of prefix-chained blocks, as hypothesis strategies and as canonical traces."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import strategies as st

from replay.trace.frame import Trace, TraceMeta, canonical_trace

BLOCK = 4
# What a server of several models, with prompts scored now and then, adds to its requests.
MIXED = {
    "model": st.sampled_from([None, "a", "a", "b"]),
    "skips_lookup": st.sampled_from([None, False, False, False, True]),
    "priority": st.integers(-1, 1),
}
MIXED_SCHEMA = {"model": pl.String, "skips_lookup": pl.Boolean, "priority": pl.Int64}


@st.composite
def mixed(draw: st.DrawFn, drawn: st.SearchStrategy[list[dict]]) -> list[dict]:
    """Draw requests of several models, urgencies, and such as skip the look-up; or of one kind."""
    own = {name: values for name, values in MIXED.items() if draw(st.booleans())}
    return [{**row, **{name: draw(own[name]) for name in own}} for row in draw(drawn)]


def schema_of(drawn: list[dict], schema: dict[str, pl.DataType]) -> dict[str, pl.DataType]:
    """Return the types of the columns of rows that `mixed` may have added to."""
    return schema | {name: MIXED_SCHEMA[name] for name in drawn[0] if name in MIXED_SCHEMA}


@st.composite
def rows(draw: st.DrawFn, *, most: int = 24, last_arrival_ns: int = 4_000) -> list[dict]:
    """Draw requests whose prompts extend, repeat, cut and branch off one another."""
    ids: dict[tuple, int] = {}
    drawn: list[dict] = []
    prompts: list[tuple] = []
    for _ in range(draw(st.integers(1, most))):
        base: tuple = ()
        if prompts and draw(st.booleans()):
            base = draw(st.sampled_from(prompts))
            base = base[: draw(st.integers(0, len(base)))]
        content = base + tuple(draw(st.lists(st.integers(0, 2), max_size=5)))
        tail = draw(st.integers(0, BLOCK - 1)) or (0 if content else 1)
        prompts.append(content)
        chain = [content[: i + 1] for i in range(len(content))]
        if tail:
            chain.append((*content, "tail", tail, draw(st.integers(0, 1))))
        drawn.append(
            {
                "arrival_ns": draw(st.integers(0, last_arrival_ns)),
                "block_ids": [ids.setdefault(one, len(ids)) for one in chain],
                "input_tokens": BLOCK * len(content) + tail,
                "output_tokens": draw(st.integers(1, 12)),
                "session_id": draw(st.sampled_from([None, 0, 1, 2])),
            }
        )
    return sorted(drawn, key=lambda row: row["arrival_ns"])


def queueing_rows(seed: int, requests: int) -> list[dict]:
    """Return requests of a few sessions that arrive faster than small engines serve them."""
    draw = np.random.default_rng(seed)
    ids: dict[tuple, int] = {}
    said: list[list[int]] = [[] for _ in range(5)]
    drawn: list[dict] = []
    at_ns = 0
    for _ in range(requests):
        session = int(draw.integers(5))
        content = said[session]
        if draw.random() < 0.3:  # start over behind an opening that sessions share
            content.clear()
            content += [0] * int(draw.integers(3))
        content += draw.integers(3, size=draw.integers(1, 4)).tolist()
        del content[12:]
        chain = [(*content[: i + 1],) for i in range(len(content))]
        cut = int(draw.integers(BLOCK))
        if cut:  # the last block is a partial one, of its own content
            chain[-1] = (*chain[-1], "cut", cut)
        drawn.append(
            {
                "arrival_ns": at_ns,
                "block_ids": [ids.setdefault(one, len(ids)) for one in chain],
                "input_tokens": BLOCK * len(content) - cut,
                "output_tokens": int(draw.integers(1, 14)),
                "session_id": None if session == 4 else session,
            }
        )
        at_ns += int(draw.integers(60))
    return drawn


def trace_of(drawn: list[dict]) -> Trace:
    """Return rows as a canonical trace whose clock keeps their arrivals."""
    drawn = [{**row, "arrival_ns": row["arrival_ns"] - drawn[0]["arrival_ns"]} for row in drawn]
    schema = {
        "arrival_ns": pl.Int64, "block_ids": pl.List(pl.UInt64), "input_tokens": pl.Int32,
        "output_tokens": pl.Int32, "session_id": pl.Int64,
    }  # fmt: skip
    meta = TraceMeta(
        path="random", name="random", sha256="", format="random", block_size=BLOCK, content="drawn"
    )
    return canonical_trace(pl.DataFrame(drawn, schema=schema_of(drawn, schema)), meta)


@st.composite
def unit_rows(draw: st.DrawFn, *, most: int = 20, last_arrival_ns: int = 4_000) -> list[dict]:
    """Draw requests made of segments: they go on, start over, cut, repeat and share openings."""
    drawn: list[dict] = []
    said: list[list[tuple[int, int]]] = [[]]
    fresh = 100
    for _ in range(draw(st.integers(1, most))):
        pieces = list(draw(st.sampled_from(said)))
        if pieces and draw(st.booleans()):  # keep only some of it, cutting inside a segment
            pieces = pieces[: draw(st.integers(0, len(pieces)))]
            if pieces:
                segment, tokens = pieces[-1]
                pieces[-1] = (segment, draw(st.integers(1, tokens)))
        if not pieces or draw(st.booleans()):
            few = draw(st.integers(0, 3))
            pieces.append((few, draw(st.integers(1, 7))))
        output_tokens = draw(st.integers(1, 9))
        known = draw(st.sampled_from([True, True, False]))
        fresh += 1
        drawn.append(
            {
                "arrival_ns": draw(st.integers(0, last_arrival_ns)),
                "segments": [segment for segment, _ in pieces],
                "segment_tokens": [tokens for _, tokens in pieces],
                "response_segment": fresh if known else None,
                "input_tokens": sum(tokens for _, tokens in pieces),
                "output_tokens": output_tokens,
                "session_id": draw(st.sampled_from([None, 0, 1, 2])),
            }
        )
        said.append(pieces)
        if known:
            said.append([*pieces, (fresh, output_tokens)])
    return sorted(drawn, key=lambda row: row["arrival_ns"])


def unit_trace_of(drawn: list[dict]) -> Trace:
    """Return rows of `unit_rows` as a canonical trace whose clock keeps their arrivals."""
    drawn = [{**row, "arrival_ns": row["arrival_ns"] - drawn[0]["arrival_ns"]} for row in drawn]
    schema = {
        "arrival_ns": pl.Int64, "segments": pl.List(pl.UInt64),
        "segment_tokens": pl.List(pl.Int32), "response_segment": pl.UInt64,
        "input_tokens": pl.Int32, "output_tokens": pl.Int32, "session_id": pl.Int64,
    }  # fmt: skip
    meta = TraceMeta(
        path="random", name="random", sha256="", format="random", block_size=None, content="drawn"
    )
    return canonical_trace(pl.DataFrame(drawn, schema=schema_of(drawn, schema)), meta)
