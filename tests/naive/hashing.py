"""Slow, obvious twins of the hashing, token and block-id kernels."""

from __future__ import annotations

import hashlib

MASK = 2**64 - 1


def murmur3_x64_128(data: bytes, seed: int = 0, *, state: tuple[int, int] | None = None) -> bytes:
    """MurmurHash3 x64 128, from the description of its reference; `state` replaces the seed."""
    c1, c2 = 0x87C37B91114253D5, 0x4CF5AD432745937F

    def rotate(x, r):
        return ((x << r) | (x >> (64 - r))) & MASK

    def mix(x):
        for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            x = ((x ^ (x >> 33)) * factor) & MASK
        return x ^ (x >> 33)

    h1, h2 = state or (seed, seed)
    whole = len(data) - len(data) % 16
    for at in range(0, whole, 16):
        k1 = int.from_bytes(data[at : at + 8], "little")
        k2 = int.from_bytes(data[at + 8 : at + 16], "little")
        h1 ^= rotate(k1 * c1 & MASK, 31) * c2 & MASK
        h1 = ((rotate(h1, 27) + h2) * 5 + 0x52DCE729) & MASK
        h2 ^= rotate(k2 * c2 & MASK, 33) * c1 & MASK
        h2 = ((rotate(h2, 31) + h1) * 5 + 0x38495AB5) & MASK
    rest = data[whole:]
    h1 ^= rotate(int.from_bytes(rest[:8], "little") * c1 & MASK, 31) * c2 & MASK
    h2 ^= rotate(int.from_bytes(rest[8:], "little") * c2 & MASK, 33) * c1 & MASK
    h1, h2 = h1 ^ len(data), h2 ^ len(data)
    h1 = (h1 + h2) & MASK
    h2 = (h2 + h1) & MASK
    h1, h2 = mix(h1), mix(h2)
    h1 = (h1 + h2) & MASK
    h2 = (h2 + h1) & MASK
    return h1.to_bytes(8, "little") + h2.to_bytes(8, "little")


def token_bytes(tokens) -> bytes:
    return b"".join(int(token).to_bytes(4, "little") for token in tokens)


def digest(data: bytes, algorithm: str, salt: bytes = b"") -> bytes:
    """Digest of a salt and bytes: SHA-256 of both, or Murmur started from the salt's digest."""
    if algorithm == "sha256":
        return hashlib.sha256(salt + data).digest()
    if not salt:
        return murmur3_x64_128(data)
    start = murmur3_x64_128(salt)
    low, high = int.from_bytes(start[:8], "little"), int.from_bytes(start[8:], "little")
    return murmur3_x64_128(data, state=(low, high))


def prefix_digests(tokens, lengths, algorithm="sha256", salt=b"") -> list[bytes]:
    return [digest(token_bytes(tokens[:length]), algorithm, salt) for length in lengths]


def block_hashes(tokens, block_size, algorithm="sha256", salt=b"") -> list[bytes]:
    hashes: list[bytes] = []
    for at in range(0, len(tokens) - len(tokens) % block_size, block_size):
        block = token_bytes(tokens[at : at + block_size])
        if hashes:
            hashes.append(digest(hashes[-1] + block, algorithm))
        else:
            hashes.append(digest(block, algorithm, salt))
    return hashes


def splitmix64(state: int) -> int:
    """The output of SplitMix64 whose counter stands at `state`."""
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def token_of(segment: int, offset: int, vocabulary: int) -> int:
    if offset == 0:
        return segment * 0x9E3779B185EBCA87 % vocabulary
    step = 0x9E3779B97F4A7C15
    seed = splitmix64((segment + step) & MASK)
    return (splitmix64((seed + step * offset) & MASK) >> 32) * vocabulary >> 32


def tokens_of(segments, sizes, vocabulary) -> list[int]:
    return [
        token_of(segment, offset, vocabulary)
        for segment, size in zip(segments, sizes, strict=True)
        for offset in range(size)
    ]


def block_ids(prompts, block_size) -> list[list[int]]:
    """Ids of prompts, each a sequence of tokens of any kind, counted as first seen.

    A full block is named by the whole prefix it ends, what is left at the end by the whole prompt.
    """
    known: dict[tuple, int] = {}
    found = []
    for prompt in prompts:
        ends = list(range(block_size, len(prompt) + 1, block_size))
        names = [("full", *prompt[:end]) for end in ends]
        if len(prompt) % block_size:
            names.append(("partial", *prompt))
        found.append([known.setdefault(name, len(known)) for name in names])
    return found
