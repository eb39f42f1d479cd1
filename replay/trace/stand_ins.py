"""Token ids for what has no text: media, and generated tokens that a log counts and does not hold.

They have the highest of 32 bits set, which no vocabulary reaches, and follow from a name: equal
names give equal tokens, and different ones differ from the first token on, but for one pair in
2^31.
"""

from __future__ import annotations

import hashlib

import numpy as np

_BEYOND = np.uint32(1 << 31)
_STEP, _FIRST, _SECOND = (
    np.uint64(number) for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


def stand_ins(name: str, count: int) -> np.ndarray:
    """Return token ids for something of that name, uint32[count].

    They are SplitMix64 (https://prng.di.unimi.it/splitmix64.c), seeded with a hash of the name.
    """
    digest = hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest()
    seed = np.uint64(int.from_bytes(digest, "little"))
    state = seed + _STEP * np.arange(1, count + 1, dtype=np.uint64)
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    state ^= state >> np.uint64(31)
    return (state >> np.uint64(32)).astype(np.uint32) | _BEYOND
