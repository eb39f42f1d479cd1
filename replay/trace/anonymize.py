"""A trace without what was said or who said it: lengths, times and sharing, and nothing else.

Block ids become keyed hashes (BLAKE2b, RFC 7693), 63 bits of them. Of token ids the hash is chained
over the block's own tokens and the hash before it, so that whoever has the key can tell two files'
equal prompts apart from others; of block ids and segments it is of the id. The model, adapter and
salt that keep prompts apart are hashed with them, and so are gone. Without the key, an id cannot be
found by hashing guessed prompts. A key that is drawn and not kept leaves nobody who can.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from hashlib import blake2b, sha512

import numpy as np
import polars as pl

from replay.errors import InputError
from replay.trace.blocks import codes_as_seen, first_places, flat_blocks
from replay.trace.content import block_ids_of
from replay.trace.frame import Trace, TraceMeta, canonical_trace
from replay.trace.lists import list_column
from replay.trace.separation import root_names, skipping
from replay.trace.units import units_of
from replay.units import format_duration

KEY_BYTES = 32
_LEAST_KEY_BYTES = 16
_LONGEST_KEY_BYTES = 64
_ID_BITS = np.uint64(2**63 - 1)
_KEPT = ("arrival_ns", "input_tokens", "output_tokens")


@dataclass(frozen=True, slots=True)
class Anonymized:
    """The trace, the columns of the source that are not in it, and what was done to its times."""

    trace: Trace
    removed: tuple[str, ...]
    times: str


def anonymize(
    trace: Trace,
    block_size: int,
    *,
    key: bytes | None = None,
    round_ns: int | None = None,
    jitter_ns: int | None = None,
) -> Anonymized:
    """Return the trace with block ids, lengths and arrivals alone; ids are keyed hashes.

    `key` has 16 bytes or more; None draws one and forgets it. `jitter_ns` moves every arrival by
    up to so much, and `round_ns` cuts arrivals to a multiple of it; the order of requests stays
    either way. Raises InputError for a key that is too short, a time below one nanosecond, and a
    trace of unknown content.
    """
    if key is None:
        key = secrets.token_bytes(KEY_BYTES)
    if len(key) < _LEAST_KEY_BYTES:
        raise InputError(
            f"a key must have {_LEAST_KEY_BYTES} bytes or more (got {len(key)})",
            hint="make one with: head -c 32 /dev/urandom > key",
        )
    for name, given in (("round", round_ns), ("jitter", jitter_ns)):
        if given is not None and given < 1:
            raise InputError(f"{name} must be at least 1 ns (got {given})")
    key = key if len(key) <= _LONGEST_KEY_BYTES else sha512(key).digest()
    blocks = block_ids_of(trace, block_size)
    hashed = _by_tokens if _has_own_tokens(trace) else _by_id
    frame = pl.DataFrame(
        {
            **{name: trace.frame[name] for name in _KEPT},
            "arrival_ns": _times(trace, round_ns, jitter_ns),
            "block_ids": hashed(trace, blocks, key),
        }
    )
    if skipping(trace) is not None:
        frame = frame.with_columns(trace.frame["skips_lookup"])
    meta = TraceMeta(
        path=trace.meta.path,
        name="anonymized",
        sha256="",
        format="anonymized",
        block_size=block_size,
        content="prefix-chained block ids, hashed with a key",
    )
    kept = (*frame.columns, "request_id")
    removed = [name for name in trace.frame.columns if name not in kept or name == "block_ids"]
    if "block_ids" in removed and trace.meta.block_size == block_size:
        removed.remove("block_ids")  # their names are gone, what they say is not
    return Anonymized(canonical_trace(frame, meta), tuple(removed), _words(round_ns, jitter_ns))


def _has_own_tokens(trace: Trace) -> bool:
    return trace.has_tokens and not trace.has_segments


def _by_id(trace: Trace, blocks: Trace, key: bytes) -> pl.Series:
    flat = flat_blocks(blocks.frame["block_ids"])
    codes, count = codes_as_seen(flat.ids)
    first = first_places(codes, count)
    roots = root_names(trace)
    own = trace if trace.meta.block_size == blocks.meta.block_size else blocks
    ids = flat_blocks(own.frame["block_ids"]).ids[first].astype("<u8")
    hashes = np.zeros(count, np.uint64)
    for place, (name, request) in enumerate(zip(ids, flat.requests[first], strict=True)):
        digest = blake2b(name.tobytes() + roots[request], digest_size=8, key=key).digest()
        hashes[place] = int.from_bytes(digest, "little")
    return list_column(_distinct(hashes)[codes], flat.counts)


def _by_tokens(trace: Trace, blocks: Trace, key: bytes) -> pl.Series:
    """Return ids that chain over tokens: a block's, and the hash of the block before it."""
    size = blocks.meta.block_size
    assert size is not None
    flat = flat_blocks(blocks.frame["block_ids"])
    codes, count = codes_as_seen(flat.ids)
    tokens, roots = units_of(trace), root_names(trace)
    data = tokens.units.astype("<u4").tobytes()
    chain: list[bytes] = [b""] * count
    hashes = np.zeros(count, np.uint64)
    first = first_places(codes, count)
    for place in np.sort(first).tolist():  # a block's parent stands before it
        request = int(np.searchsorted(flat.offsets, place, side="right")) - 1
        at = place - int(flat.offsets[request])
        start = int(tokens.offsets[request]) + at * size
        stop = min(start + size, int(tokens.prompt_stops[request]))
        parent = chain[codes[place - 1]] if at else roots[request]
        digest = blake2b(parent + data[4 * start : 4 * stop], digest_size=32, key=key).digest()
        chain[codes[place]] = digest
        hashes[codes[place]] = int.from_bytes(digest[:8], "little")
    return list_column(_distinct(hashes)[codes], flat.counts)


def _distinct(hashes: np.ndarray) -> np.ndarray:
    hashes = hashes & _ID_BITS
    if len(np.unique(hashes)) < len(hashes):
        raise InputError("two blocks got one id, by chance", hint="run it again, or change the key")
    return hashes


def _times(trace: Trace, round_ns: int | None, jitter_ns: int | None) -> pl.Series:
    arrival = trace.column("arrival_ns")
    if jitter_ns is not None:
        # Sorted again: who was first stays first, though not by as much.
        moved = arrival + np.random.default_rng().integers(-jitter_ns, jitter_ns + 1, len(arrival))
        arrival = np.sort(moved)
        arrival -= arrival[0]
    if round_ns is not None:
        arrival = arrival // round_ns * round_ns
    return pl.Series("arrival_ns", arrival)


def _words(round_ns: int | None, jitter_ns: int | None) -> str:
    done = [f"moved at random by up to {format_duration(jitter_ns)}"] if jitter_ns else []
    done += [f"cut to {format_duration(round_ns)}"] if round_ns else []
    return " and ".join(done) or "kept, from zero"
