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
from replay.trace.blocks import FlatBlocks, codes_as_seen, first_places, flat_blocks
from replay.trace.content import block_ids_of
from replay.trace.frame import Trace, TraceMeta, canonical_trace
from replay.trace.lists import list_column
from replay.trace.separation import root_names, skipping
from replay.trace.units import FlatUnits, units_of
from replay.units import format_duration

KEY_BYTES = 32
_LEAST_KEY_BYTES = 16
_LONGEST_KEY_BYTES = 64
_ID_BITS = np.uint64(2**63 - 1)
_KEPT = ("arrival_ns", "input_tokens", "output_tokens")
_IDS = ("block_ids", "response_block_ids")


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

    Responses that are known have them too, of the full blocks they complete.

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
            **hashed(trace, blocks, key),
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
    removed = [name for name in trace.frame.columns if name not in (*_KEPT, "request_id")]
    if skipping(trace) is not None:
        removed.remove("skips_lookup")
    if trace.meta.block_size == block_size:  # their names are gone, what they say is not
        removed = [name for name in removed if name not in _IDS]
    return Anonymized(canonical_trace(frame, meta), tuple(removed), _words(round_ns, jitter_ns))


def _has_own_tokens(trace: Trace) -> bool:
    return trace.has_tokens and not trace.has_segments


def _by_id(trace: Trace, blocks: Trace, key: bytes) -> dict[str, pl.Series]:
    """Return ids that are hashes of those there are, and of what keeps their requests apart."""
    lists = _lists(blocks)
    codes, count = codes_as_seen(_all(lists))
    first = first_places(codes, count)
    own = trace if trace.meta.block_size == blocks.meta.block_size else blocks
    ids = _all(_lists(own))[first].astype("<u8")
    roots, owners = root_names(trace), _owners(lists)[first]
    hashes = np.zeros(count, np.uint64)
    for place, (name, request) in enumerate(zip(ids, owners, strict=True)):
        digest = blake2b(name.tobytes() + roots[request], digest_size=8, key=key).digest()
        hashes[place] = int.from_bytes(digest, "little")
    return _columns(lists, _distinct(hashes)[codes])


def _by_tokens(trace: Trace, blocks: Trace, key: bytes) -> dict[str, pl.Series]:
    """Return ids that chain over tokens: a block's, and the hash of the block before it."""
    size = blocks.meta.block_size
    assert size is not None
    lists = _lists(blocks)
    codes, count = codes_as_seen(_all(lists))
    tokens, roots, owners = units_of(trace), root_names(trace), _owners(lists)
    data = tokens.units.astype("<u4").tobytes()
    start, stop, before = _spans(list(lists.values()), tokens, trace.column("input_tokens"), size)
    chain: list[bytes] = [b""] * count
    hashes = np.zeros(count, np.uint64)
    for place in np.sort(first_places(codes, count)).tolist():  # a block's parent stands before it
        parent = chain[codes[before[place]]] if before[place] >= 0 else roots[owners[place]]
        content = data[4 * start[place] : 4 * stop[place]]
        digest = blake2b(parent + content, digest_size=32, key=key).digest()
        chain[codes[place]] = digest
        hashes[codes[place]] = int.from_bytes(digest[:8], "little")
    return _columns(lists, _distinct(hashes)[codes])


def _spans(
    lists: list[FlatBlocks], tokens: FlatUnits, input_tokens: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where each block starts and stops in the tokens, and the place of the one before it.

    int64 each, of prompts first and then of responses; -1 where nothing is before.
    """
    prompts, responses = lists[0], lists[-1]
    places = np.arange(len(prompts.ids))
    at = places - prompts.offsets[prompts.requests]
    start = tokens.offsets[prompts.requests] + at * size
    stop = np.minimum(start + size, tokens.prompt_stops[prompts.requests])
    before = np.where(at > 0, places - 1, -1)
    if len(lists) == 1:
        return start, stop, before
    owner = responses.requests
    later = np.arange(len(owner)) - responses.offsets[owner]
    full = input_tokens[owner] // size
    begun = tokens.offsets[owner] + (full + later) * size
    above = np.where(full > 0, prompts.offsets[owner] + full - 1, -1)
    above = np.where(later > 0, len(places) + np.arange(len(owner)) - 1, above)
    return (
        np.concatenate([start, begun]),
        np.concatenate([stop, begun + size]),
        np.concatenate([before, above]),
    )


def _lists(blocks: Trace) -> dict[str, FlatBlocks]:
    """Return the ids of prompts, and of responses where they are known."""
    names = [name for name in _IDS if name in blocks.frame.columns]
    return {name: flat_blocks(blocks.frame[name]) for name in names}


def _all(lists: dict[str, FlatBlocks]) -> np.ndarray:
    return np.concatenate([flat.ids for flat in lists.values()])


def _owners(lists: dict[str, FlatBlocks]) -> np.ndarray:
    """Return the request of each place."""
    return np.concatenate([flat.requests for flat in lists.values()])


def _columns(lists: dict[str, FlatBlocks], ids: np.ndarray) -> dict[str, pl.Series]:
    """Return ids of all places as lists, column by column."""
    parts = np.split(ids, np.cumsum([len(flat.ids) for flat in lists.values()])[:-1])
    return {
        name: list_column(own, flat.counts)
        for (name, flat), own in zip(lists.items(), parts, strict=True)
    }


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
