"""The names vLLM 0.33 gives to KV blocks, for traces and events that carry them.

The hash of a block is that of a triple: its parent's hash, its tokens, and what else tells it
apart. The first block's parent is the hash of a seed, `vllm-none-hash` unless vLLM ran with
PYTHONHASHSEED. What else there is: the LoRA adapter on every block, the cache salt on the first.
The triple is serialised by pickle or as canonical CBOR, so these are not the hashes of bytes that
`replay.block_hashes` makes.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from replay.errors import InputError, UnknownNameError
from replay.trace.hashing import checked_tokens

SEED = "vllm-none-hash"
VLLM_ALGORITHMS = ("sha256", "sha256_cbor", "xxhash_cbor")
_EVENT_BYTES = 8
Hash = Callable[[Any], bytes]


def vllm_block_hashes(
    tokens: Sequence[int] | np.ndarray,
    block_size: int,
    *,
    algorithm: str = "sha256",
    lora: tuple[str, str] | None = None,
    cache_salt: str | None = None,
    seed: str | None = None,
) -> list[bytes]:
    """Return vLLM's hash of each full block of a prompt, `block_size` tokens each.

    `lora` is the adapter's name and path; `seed` is the PYTHONHASHSEED of the server, which
    `xxhash_cbor` needs, because without one every server draws its own. Raises InputError for a
    token that is none, a block size below one, a missing seed or a missing package,
    UnknownNameError for an unknown algorithm.
    """
    if block_size < 1:
        raise InputError(f"block_size must be at least 1 (got {block_size})")
    digest = _digest(algorithm)
    if seed is None and algorithm == "xxhash_cbor":
        raise InputError(
            "xxhash_cbor needs a seed", hint="give the PYTHONHASHSEED that vLLM was started with"
        )
    flat = checked_tokens(tokens).tolist()
    always = () if lora is None else (("lora", *lora),)
    extra = always if cache_salt is None else (*always, ("cache_salt", cache_salt))
    hashes: list[bytes] = []
    parent = digest(SEED if seed is None else seed)
    for start in range(0, len(flat) - block_size + 1, block_size):
        parent = digest((parent, tuple(flat[start : start + block_size]), extra or None))
        hashes.append(parent)
        extra = always
    return hashes


def vllm_event_id(block_hash: bytes) -> int:
    """Return how vLLM's KV cache events name a block: the low 64 bits of its hash."""
    return int.from_bytes(block_hash[-_EVENT_BYTES:], "big")


def _digest(algorithm: str) -> Hash:
    if algorithm == "sha256":
        return lambda value: hashlib.sha256(pickle.dumps(value, protocol=5)).digest()
    if algorithm not in VLLM_ALGORITHMS:
        raise UnknownNameError("hash algorithm of vLLM", algorithm, VLLM_ALGORITHMS)
    try:
        import cbor2
        import xxhash
    except ModuleNotFoundError as error:
        raise InputError(
            f"{algorithm} needs the package {error.name}", hint="pip install 'kvreplay[vllm]'"
        ) from error
    if algorithm == "sha256_cbor":
        return lambda value: hashlib.sha256(cbor2.dumps(value, canonical=True)).digest()
    return lambda value: xxhash.xxh3_128_digest(cbor2.dumps(value, canonical=True))
