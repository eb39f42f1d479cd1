"""Hashes of tokens: digests of prefixes, and chained hashes of blocks.

A token counts as its four little-endian bytes. The digest of a prefix is that of its bytes. The
hash of a block is the digest of its parent's hash and its own bytes, so it names the block *and
all that precedes it*; only full blocks have one.

A salt keeps apart what must never share KV, such as two tenants. It goes before the first token.
SHA-256 takes its bytes (see `Salt.encoded`) as they are, MurmurHash3 the digest of them. Without a
salt every digest is that of the tokens alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from replay.errors import InputError
from replay.trace.hash_algorithms import TOKEN_BYTES, algorithm_named

LARGEST_TOKEN = 2**32 - 1
Integers = Sequence[int] | np.ndarray


@dataclass(frozen=True, slots=True)
class Salt:
    """What tells equal tokens apart; two salts that differ never make the same input."""

    model: str | None = None
    lora: str | None = None
    tenant: str | None = None

    def encoded(self) -> bytes:
        """Return the bytes that go before the first token; none where no field is given.

        Each field is its length plus one in eight bytes, zero where it is not given, and its
        UTF-8 text, so no two salts are alike and none is the start of another. Zeros bring the
        total to one more than a multiple of four: no salted prompt is as long as an unsalted one.
        """
        fields = (self.model, self.lora, self.tenant)
        if all(field is None for field in fields):
            return b""
        encoded = b"".join(_field(field) for field in fields)
        return encoded + bytes((1 - len(encoded)) % TOKEN_BYTES)


@dataclass(frozen=True, slots=True)
class FlatHashes:
    """Hashes of many prompts: those of prompt p are `hashes[offsets[p]:offsets[p + 1]]`.

    `offsets` int64[P+1]; `hashes` uint8[N, bytes of a digest].
    """

    offsets: np.ndarray
    hashes: np.ndarray


def prefix_digests(
    tokens: Integers, lengths: Integers, *, salt: Salt = Salt(), algorithm: str = "sha256"
) -> list[bytes]:
    """Return the digest of each prefix of a prompt, in the order its length is asked for.

    The prompt is read once, however many lengths there are. Raises InputError for a token that is
    none and for a length the prompt does not have, UnknownNameError for an unknown algorithm.
    """
    flat = np.array([0, len(tokens)], np.int64)
    asked = np.array([0, len(lengths)], np.int64)
    return _rows(
        batch_prefix_digests(tokens, flat, lengths, asked, salt=salt, algorithm=algorithm).hashes
    )


def block_hashes(
    tokens: Integers, block_size: int, *, salt: Salt = Salt(), algorithm: str = "sha256"
) -> list[bytes]:
    """Return the chained hash of each full block of a prompt, `block_size` tokens each.

    Raises InputError for a token that is none or a block size below one, UnknownNameError for an
    unknown algorithm.
    """
    flat = np.array([0, len(tokens)], np.int64)
    return _rows(
        batch_block_hashes(tokens, flat, block_size, salt=salt, algorithm=algorithm).hashes
    )


def batch_prefix_digests(
    tokens: Integers,
    offsets: np.ndarray,
    lengths: Integers,
    length_offsets: np.ndarray,
    *,
    salt: Salt = Salt(),
    algorithm: str = "sha256",
) -> FlatHashes:
    """Return the digests of prefixes of many prompts, in the order asked for.

    Prompt p is `tokens[offsets[p]:offsets[p + 1]]`, and of it the prefixes
    `lengths[length_offsets[p]:length_offsets[p + 1]]` are asked for. Raises as `prefix_digests`.
    """
    chosen = algorithm_named(algorithm)
    flat = checked_tokens(tokens)
    offsets = _offsets(offsets, len(flat), "offsets")
    length_offsets = _offsets(length_offsets, len(lengths), "length_offsets")
    if len(length_offsets) != len(offsets):
        raise InputError(f"{len(offsets)} offsets but {len(length_offsets)} length_offsets")
    asked = _lengths(lengths, np.diff(offsets), length_offsets)
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(length_offsets))
    if ((np.diff(asked) < 0) & (np.diff(owner) == 0)).any():
        order = np.lexsort((asked, owner))
        digests = np.empty((len(asked), chosen.digest_bytes), np.uint8)
        digests[order] = chosen.prefixes(
            flat, offsets, asked[order], length_offsets, salt.encoded()
        )
    else:
        digests = chosen.prefixes(flat, offsets, asked, length_offsets, salt.encoded())
    return FlatHashes(length_offsets, digests)


def batch_block_hashes(
    tokens: Integers,
    offsets: np.ndarray,
    block_size: int,
    *,
    salt: Salt = Salt(),
    algorithm: str = "sha256",
) -> FlatHashes:
    """Return the chained hashes of the full blocks of many prompts; one salt holds for all.

    Prompt p is `tokens[offsets[p]:offsets[p + 1]]`. Raises as `block_hashes`.
    """
    chosen = algorithm_named(algorithm)
    if block_size < 1:
        raise InputError(f"block_size must be at least 1 (got {block_size})")
    flat = checked_tokens(tokens)
    offsets = _offsets(offsets, len(flat), "offsets")
    hash_offsets = np.zeros(len(offsets), np.int64)
    np.cumsum(np.diff(offsets) // block_size, out=hash_offsets[1:])
    hashes = chosen.blocks(flat, offsets, block_size, hash_offsets, salt.encoded())
    return FlatHashes(hash_offsets, hashes)


def _field(text: str | None) -> bytes:
    if text is None:
        return bytes(8)
    raw = text.encode("utf-8", "surrogatepass")
    return (len(raw) + 1).to_bytes(8, "little") + raw


def checked_tokens(tokens: Integers) -> np.ndarray:
    """Return tokens as uint32; InputError names the first that is none."""
    return _integers(tokens, LARGEST_TOKEN, np.uint32, "tokens", "2^32 - 1")


def _integers(
    values: Integers, largest: int, dtype: type[np.generic], name: str, shown: str
) -> np.ndarray:
    """Return values in 0..largest as a contiguous array; InputError names the first other one.

    Values that are of `dtype` already are taken as they are.
    """
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(f"{name} must be one flat list of integers") from error
    if array.ndim != 1:
        raise InputError(f"{name} must be one flat list of integers")
    if not array.size:
        return np.zeros(0, dtype)
    if array.dtype.kind in "ui":
        bad = (array < 0) | (array > largest) if array.dtype != dtype else np.zeros(0, bool)
        position = int(bad.argmax()) if bad.any() else None
    else:  # a list that holds something else, or integers beyond 64 bits
        fits = (
            isinstance(value, (int, np.integer))
            and type(value) is not bool
            and 0 <= value <= largest
            for value in values
        )
        position = next((at for at, fine in enumerate(fits) if not fine), None)
    if position is not None:
        raise InputError(
            f"{name}[{position}] must be an integer between 0 and {shown} "
            f"(got {values[position]!s})"
        )
    return np.ascontiguousarray(array, dtype)


def _offsets(offsets: np.ndarray, total: int, name: str) -> np.ndarray:
    offsets = np.ascontiguousarray(offsets, np.int64)
    if not len(offsets) or offsets[0] or offsets[-1] != total or (np.diff(offsets) < 0).any():
        raise InputError(f"{name} must rise from 0 to {total}, what they cut into pieces")
    return offsets


def _lengths(lengths: Integers, prompts: np.ndarray, length_offsets: np.ndarray) -> np.ndarray:
    asked = _integers(lengths, 2**63 - 1, np.int64, "lengths", "the length of the prompt")
    limits = np.repeat(prompts, np.diff(length_offsets))
    wrong = np.flatnonzero((asked < 0) | (asked > limits))
    if len(wrong):
        at = int(wrong[0])
        raise InputError(
            f"lengths[{at}] must be between 0 and {limits[at]}, the length of the prompt "
            f"(got {asked[at]})"
        )
    return asked


def _rows(digests: np.ndarray) -> list[bytes]:
    width, joined = digests.shape[1], digests.tobytes()
    return [joined[at : at + width] for at in range(0, len(joined), width)]
