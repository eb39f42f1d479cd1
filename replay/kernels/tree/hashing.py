"""MurmurHash3 x64 128 of token prefixes and of chained blocks, for many prompts at once.

Tokens are absorbed as their little-endian bytes, four to a 16-byte step, so a digest equals the
reference function's over those bytes (Austin Appleby, MurmurHash3.cpp, public domain:
https://github.com/aappleby/smhasher). A digest is two uint64, low half first; written out little
endian they are the reference's 16 bytes.

The function ends by folding the bytes left over and the length into a copy of the running state,
so every prefix of a prompt costs one ending and the prompt is read once.
"""

from __future__ import annotations

import numpy as np

from replay.kernels.jit import jit

_C1 = np.uint64(0x87C37B91114253D5)
_C2 = np.uint64(0x4CF5AD432745937F)
_ADD1 = np.uint64(0x52DCE729)
_ADD2 = np.uint64(0x38495AB5)
_FIVE = np.uint64(5)
_MIX1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX2 = np.uint64(0xC4CEB9FE1A85EC53)
_NONE = np.uint64(0)


@jit
def _rotate(value, bits):
    return (value << np.uint64(bits)) | (value >> np.uint64(64 - bits))


@jit
def _scrambled_low(word):
    return _rotate(word * _C1, 31) * _C2


@jit
def _scrambled_high(word):
    return _rotate(word * _C2, 33) * _C1


@jit
def _absorbed(low, high, word_low, word_high):
    """Return the state after 16 more bytes."""
    low ^= _scrambled_low(word_low)
    low = (_rotate(low, 27) + high) * _FIVE + _ADD1
    high ^= _scrambled_high(word_high)
    high = (_rotate(high, 31) + low) * _FIVE + _ADD2
    return low, high


@jit
def _mixed(value):
    value = (value ^ (value >> np.uint64(33))) * _MIX1
    value = (value ^ (value >> np.uint64(33))) * _MIX2
    return value ^ (value >> np.uint64(33))


@jit
def _finished(low, high, word_low, word_high, length_bytes):
    """Return the digest: the last 0..15 bytes, padded with zeros, and the length folded in."""
    low ^= _scrambled_low(word_low) ^ np.uint64(length_bytes)
    high ^= _scrambled_high(word_high) ^ np.uint64(length_bytes)
    low += high
    high += low
    low, high = _mixed(low), _mixed(high)
    low += high
    return low, high + low


@jit
def _two_tokens(tokens, at):
    return np.uint64(tokens[at]) | (np.uint64(tokens[at + 1]) << np.uint64(32))


@jit
def _rest(tokens, at, stop):
    """Return the 0..3 tokens from `at` to `stop` as two words padded with zeros."""
    word_low, word_high = _NONE, _NONE
    if stop - at > 1:
        word_low = _two_tokens(tokens, at)
    elif stop - at == 1:
        word_low = np.uint64(tokens[at])
    if stop - at == 3:
        word_high = np.uint64(tokens[at + 2])
    return word_low, word_high


@jit
def murmur3_of_bytes(data, low, high):
    """Return the digest (uint64, uint64) of bytes; the reference's seed s is low = high = s."""
    whole = data.size - data.size % 16
    word_low, word_high = _NONE, _NONE
    for at in range(data.size):
        shift = np.uint64(8 * (at % 8))
        if at % 16 < 8:
            word_low |= np.uint64(data[at]) << shift
        else:
            word_high |= np.uint64(data[at]) << shift
        if at % 16 == 15 and at < whole:
            low, high = _absorbed(low, high, word_low, word_high)
            word_low, word_high = _NONE, _NONE
    return _finished(low, high, word_low, word_high, data.size)


@jit
def murmur3_prefixes(tokens, offsets, lengths, length_offsets, low, high):
    """Return the digests uint64[N, 2] of prefixes; (low, high) is the state to start from.

    Prompt p is `tokens[offsets[p]:offsets[p + 1]]`; the prefixes asked of it are
    `lengths[length_offsets[p]:length_offsets[p + 1]]`, which never decrease.
    """
    digests = np.empty((lengths.size, 2), np.uint64)
    for prompt in range(offsets.size - 1):
        at = offsets[prompt]
        state_low, state_high = low, high
        for i in range(length_offsets[prompt], length_offsets[prompt + 1]):
            stop = offsets[prompt] + lengths[i]
            while at + 4 <= stop:
                state_low, state_high = _absorbed(
                    state_low, state_high, _two_tokens(tokens, at), _two_tokens(tokens, at + 2)
                )
                at += 4
            word_low, word_high = _rest(tokens, at, stop)
            digests[i, 0], digests[i, 1] = _finished(
                state_low, state_high, word_low, word_high, 4 * lengths[i]
            )
    return digests


@jit
def murmur3_blocks(tokens, offsets, block_size, hash_offsets, low, high):
    """Return the chained hashes uint64[N, 2] of all full blocks, those of prompt p together.

    A block's hash is the digest of its parent's and its tokens. The first has no parent and
    starts from the state (low, high); the others start from zero.
    """
    hashes = np.empty((hash_offsets[offsets.size - 1], 2), np.uint64)
    for prompt in range(offsets.size - 1):
        at = offsets[prompt]
        first = hash_offsets[prompt]
        for i in range(first, hash_offsets[prompt + 1]):
            state_low, state_high = low, high
            length_bytes = 4 * block_size
            if i > first:
                state_low, state_high = _absorbed(_NONE, _NONE, hashes[i - 1, 0], hashes[i - 1, 1])
                length_bytes += 16
            stop = at + block_size
            while at + 4 <= stop:
                state_low, state_high = _absorbed(
                    state_low, state_high, _two_tokens(tokens, at), _two_tokens(tokens, at + 2)
                )
                at += 4
            word_low, word_high = _rest(tokens, at, stop)
            at = stop
            hashes[i, 0], hashes[i, 1] = _finished(
                state_low, state_high, word_low, word_high, length_bytes
            )
    return hashes
