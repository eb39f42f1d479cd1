"""The hash algorithms: SHA-256 by the standard library, MurmurHash3 by our kernel.

Both take flat prompts: prompt p is `tokens[offsets[p]:offsets[p + 1]]`, uint32 and int64, and a
salt of any bytes. MurmurHash3 has no room for bytes that are not whole tokens before the first
one, so it starts from the salt's digest, where it would start from a seed of zero.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from replay.errors import UnknownNameError
from replay.kernels.tree.hashing import murmur3_blocks, murmur3_of_bytes, murmur3_prefixes

TOKEN_BYTES = 4


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One way to hash.

    `prefixes(tokens, offsets, lengths, length_offsets, salt)` takes lengths that never decrease
    within a prompt; `blocks(tokens, offsets, block_size, hash_offsets, salt)` is told where the
    hashes of each prompt go. Both give uint8[N, digest_bytes].
    """

    name: str
    digest_bytes: int
    meaning: str
    prefixes: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, bytes], np.ndarray]
    blocks: Callable[[np.ndarray, np.ndarray, int, np.ndarray, bytes], np.ndarray]


def algorithm_named(name: str) -> Algorithm:
    """Return the algorithm of a name; UnknownNameError for one that stands in no table."""
    for algorithm in ALGORITHMS:
        if algorithm.name == name:
            return algorithm
    raise UnknownNameError("hash algorithm", name, [algorithm.name for algorithm in ALGORITHMS])


def _sha256_prefixes(
    tokens: np.ndarray,
    offsets: np.ndarray,
    lengths: np.ndarray,
    length_offsets: np.ndarray,
    salt: bytes,
) -> np.ndarray:
    data = memoryview(tokens.astype("<u4", copy=False).tobytes())
    digests: list[bytes] = []
    for prompt in range(len(offsets) - 1):
        running = hashlib.sha256(salt)
        update, copy = running.update, running.copy
        start = at = TOKEN_BYTES * int(offsets[prompt])
        asked = lengths[length_offsets[prompt] : length_offsets[prompt + 1]]
        for stop in (start + TOKEN_BYTES * asked).tolist():
            update(data[at:stop])
            digests.append(copy().digest())
            at = stop
    return _joined(digests)


def _sha256_blocks(
    tokens: np.ndarray, offsets: np.ndarray, block_size: int, hash_offsets: np.ndarray, salt: bytes
) -> np.ndarray:
    data = memoryview(tokens.astype("<u4", copy=False).tobytes())
    digests: list[bytes] = []
    width = TOKEN_BYTES * block_size
    sha256 = hashlib.sha256
    for prompt in range(len(offsets) - 1):
        before = salt
        start = TOKEN_BYTES * int(offsets[prompt])
        blocks = int(hash_offsets[prompt + 1] - hash_offsets[prompt])
        for at in range(start, start + blocks * width, width):
            before = sha256(before + data[at : at + width]).digest()
            digests.append(before)
    return _joined(digests)


def _joined(digests: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, hashlib.sha256().digest_size)


def _murmur3_prefixes(
    tokens: np.ndarray,
    offsets: np.ndarray,
    lengths: np.ndarray,
    length_offsets: np.ndarray,
    salt: bytes,
) -> np.ndarray:
    return _as_bytes(murmur3_prefixes(tokens, offsets, lengths, length_offsets, *_start(salt)))


def _murmur3_blocks(
    tokens: np.ndarray, offsets: np.ndarray, block_size: int, hash_offsets: np.ndarray, salt: bytes
) -> np.ndarray:
    return _as_bytes(murmur3_blocks(tokens, offsets, block_size, hash_offsets, *_start(salt)))


def _start(salt: bytes) -> tuple[np.uint64, np.uint64]:
    zero = np.uint64(0)
    if not salt:
        return zero, zero
    low, high = murmur3_of_bytes(np.frombuffer(salt, np.uint8), zero, zero)
    return np.uint64(low), np.uint64(high)


def _as_bytes(digests: np.ndarray) -> np.ndarray:
    return digests.astype("<u8", copy=False).view(np.uint8)


ALGORITHMS = (
    Algorithm(
        "sha256",
        32,
        "SHA-256: no two inputs are known to collide",
        _sha256_prefixes,
        _sha256_blocks,
    ),
    Algorithm(
        "murmur3",
        16,
        "MurmurHash3 x64 128: much faster, collides by chance alone, not safe from an adversary",
        _murmur3_prefixes,
        _murmur3_blocks,
    ),
)
