"""Token hashes against hashlib, published vectors and plain twins."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import InputError, UnknownNameError
from replay.kernels.tree.hashing import murmur3_of_bytes
from replay.trace.hash_algorithms import ALGORITHMS
from replay.trace.hashing import (
    Salt,
    batch_block_hashes,
    batch_prefix_digests,
    block_hashes,
    prefix_digests,
)
from tests.naive import hashing as naive

NAMES = [algorithm.name for algorithm in ALGORITHMS]
TOKEN = st.one_of(st.integers(0, 5), st.integers(0, 2**32 - 1))
PROMPTS = st.lists(TOKEN, max_size=70)
FIELD = st.one_of(st.none(), st.text(max_size=4))
SALTS = st.builds(Salt, model=FIELD, lora=FIELD, tenant=FIELD)

# Of the reference function, as two 64-bit numbers: tests of github.com/spaolacci/murmur3.
VECTORS = [
    (0, b"", 0, 0),
    (0, b"hello", 0xCBD8A7B341BD9B02, 0x5B1E906A48AE1D19),
    (0, b"hello, world", 0x342FAC623A5EBC8E, 0x4CDCBC079642414D),
    (0, b"19 Jan 2038 at 3:14:07 AM", 0xB89E5988B737AFFC, 0x664FC2950231B2CB),
    (0, b"The quick brown fox jumps over the lazy dog.", 0xCD99481F9EE902C9, 0x695DA1A38987B6E7),
    (1, b"", 0x4610ABE56EFF5CB5, 0x51622DAA78F83583),
    (1, b"hello", 0xA78DDFF5ADAE8D10, 0x128900EF20900135),
]
IN_TOKENS = [vector for vector in VECTORS if vector[0] == 0 and len(vector[1]) % 4 == 0]
SMHASHER_CHECK = 0x6384BA69  # MurmurHash3_x64_128 in main.cpp of github.com/aappleby/smhasher


def kernel_of_bytes(data: bytes, seed: int = 0) -> bytes:
    start = np.uint64(seed)
    low, high = murmur3_of_bytes(np.frombuffer(data, np.uint8), start, start)
    return int(low).to_bytes(8, "little") + int(high).to_bytes(8, "little")


def split(flat, offsets):
    return [
        [row.tobytes() for row in flat[a:b]] for a, b in itertools.pairwise(np.asarray(offsets))
    ]


@pytest.mark.parametrize("murmur3", [kernel_of_bytes, naive.murmur3_x64_128])
@pytest.mark.parametrize(("seed", "text", "low", "high"), VECTORS)
def test_murmur3_gives_the_published_digests(murmur3, seed, text, low, high):
    assert murmur3(text, seed) == low.to_bytes(8, "little") + high.to_bytes(8, "little")


@pytest.mark.parametrize("murmur3", [kernel_of_bytes, naive.murmur3_x64_128])
def test_murmur3_passes_the_reference_check_over_all_lengths_to_255(murmur3):
    digests = b"".join(murmur3(bytes(range(n)), 256 - n) for n in range(256))
    assert int.from_bytes(murmur3(digests)[:4], "little") == SMHASHER_CHECK


@pytest.mark.parametrize(("seed", "text", "low", "high"), IN_TOKENS)
def test_murmur3_of_tokens_is_that_of_their_bytes(seed, text, low, high):
    tokens = np.frombuffer(text, "<u4")
    (digest,) = prefix_digests(tokens, [len(tokens)], algorithm="murmur3")
    assert digest == low.to_bytes(8, "little") + high.to_bytes(8, "little")


@given(tokens=PROMPTS)
def test_sha256_of_every_prefix_is_that_of_hashlib(tokens):
    data = np.array(tokens, "<u4").tobytes()
    found = prefix_digests(tokens, range(len(tokens) + 1))
    assert found == [hashlib.sha256(data[: 4 * n]).digest() for n in range(len(tokens) + 1)]


@given(tokens=PROMPTS, salt=SALTS, algorithm=st.sampled_from(NAMES), data=st.data())
def test_prefix_digests_equal_the_plain_twin_in_the_order_asked(tokens, salt, algorithm, data):
    lengths = data.draw(st.lists(st.integers(0, len(tokens)), max_size=12))
    found = prefix_digests(tokens, lengths, salt=salt, algorithm=algorithm)
    assert found == naive.prefix_digests(tokens, lengths, algorithm, salt.encoded())


@given(tokens=PROMPTS, size=st.integers(1, 20), salt=SALTS, algorithm=st.sampled_from(NAMES))
def test_block_hashes_equal_the_plain_twin(tokens, size, salt, algorithm):
    found = block_hashes(tokens, size, salt=salt, algorithm=algorithm)
    assert found == naive.block_hashes(tokens, size, algorithm, salt.encoded())


@settings(max_examples=50)
@given(prompts=st.lists(PROMPTS, max_size=6), salt=SALTS, algorithm=st.sampled_from(NAMES))
def test_many_prompts_at_once_hash_as_one_by_one(prompts, salt, algorithm):
    flat = np.array([token for prompt in prompts for token in prompt], np.uint32)
    offsets = np.cumsum([0, *map(len, prompts)])
    asked = [[*range(len(prompt), -1, -3), 0] for prompt in prompts]
    lengths = np.array([length for row in asked for length in row], np.int64)
    upto = np.cumsum([0, *map(len, asked)])

    blocks = batch_block_hashes(flat, offsets, 3, salt=salt, algorithm=algorithm)
    assert split(blocks.hashes, blocks.offsets) == [
        block_hashes(prompt, 3, salt=salt, algorithm=algorithm) for prompt in prompts
    ]
    digests = batch_prefix_digests(flat, offsets, lengths, upto, salt=salt, algorithm=algorithm)
    assert split(digests.hashes, digests.offsets) == [
        prefix_digests(prompt, row, salt=salt, algorithm=algorithm)
        for prompt, row in zip(prompts, asked, strict=True)
    ]


@given(one=SALTS, other=SALTS, tokens=PROMPTS, more=PROMPTS)
def test_salts_that_differ_never_make_equal_input(one, other, tokens, more):
    left = one.encoded() + naive.token_bytes(tokens)
    right = other.encoded() + naive.token_bytes(more)
    assert (left == right) == (one == other and tokens == more)


@pytest.mark.parametrize("algorithm", NAMES)
def test_each_field_of_a_salt_gives_other_hashes_throughout(algorithm):
    salts = [Salt(), Salt(""), Salt("a"), Salt("ab"), Salt(lora="a"), Salt(tenant="a"),
             Salt("a", "b"), Salt("a", None, "b"), Salt("ab", ""), Salt("", "ab")]  # fmt: skip
    tokens = range(12)
    for hashed in (
        lambda salt: block_hashes(tokens, 4, salt=salt, algorithm=algorithm),
        lambda salt: prefix_digests(tokens, [0, 1, 12], salt=salt, algorithm=algorithm),
    ):
        rows = [hashed(salt) for salt in salts]
        assert len({digest for row in rows for digest in row}) == 3 * len(salts)


def test_a_salt_of_unpaired_surrogates_is_encoded():
    assert Salt("\ud800").encoded() != Salt("\ud801").encoded()


@pytest.mark.parametrize("algorithm", NAMES)
def test_a_changed_token_changes_its_block_and_all_after(algorithm):
    tokens = list(range(16))
    before = block_hashes(tokens, 4, algorithm=algorithm)
    tokens[6] += 1
    after = block_hashes(tokens, 4, algorithm=algorithm)
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, False, False]


@pytest.mark.parametrize("algorithm", NAMES)
def test_no_tokens_have_no_blocks_and_one_empty_prefix(algorithm):
    assert block_hashes([], 4, algorithm=algorithm) == []
    assert prefix_digests([], [], algorithm=algorithm) == []
    assert prefix_digests([], [0], algorithm=algorithm) == [naive.digest(b"", algorithm)]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.int64, np.uint64, ">u4", "<u4"])
def test_tokens_of_any_integer_type_hash_alike(dtype):
    tokens = np.array([3, 1, 4, 1, 5, 9, 2, 6], dtype)
    assert block_hashes(tokens, 4) == block_hashes(tokens.tolist(), 4)
    assert block_hashes(np.repeat(tokens, 2)[::2], 4) == block_hashes(tokens, 4)


@pytest.mark.parametrize(
    ("tokens", "position", "got"),
    [
        ([1, 2, -1], 2, "-1"),
        ([2**32], 0, "4294967296"),
        ([0, 2**70], 1, str(2**70)),
        ([2**64 - 1, -1], 0, str(2**64 - 1)),
        ([1, 2.5], 1, "2.5"),
        ([1, None], 1, "None"),
        (["7"], 0, "7"),
        ([True], 0, "True"),
        (np.array([1.0]), 0, "1.0"),
        (np.array([5, -7], np.int8), 1, "-7"),
    ],
)
def test_a_token_that_is_none_is_named_by_position(tokens, position, got):
    message = rf"tokens\[{position}\] must be an integer between 0 and 2\^32 - 1 \(got {got}\)"
    with pytest.raises(InputError, match=message):
        block_hashes(tokens, 4)


@pytest.mark.parametrize("tokens", [[[1, 2], [3]], [[1, 2], [3, 4]]])
def test_nested_tokens_are_refused(tokens):
    with pytest.raises(InputError, match="tokens must be one flat list"):
        block_hashes(tokens, 4)


@pytest.mark.parametrize("length", [-1, 4, 2**40])
def test_a_length_the_prompt_does_not_have_is_named_by_position(length):
    with pytest.raises(InputError, match=rf"lengths\[1\] must be between 0 and 3, .*{length}\)"):
        prefix_digests([7, 8, 9], [3, length])


def test_a_length_that_is_no_integer_is_refused():
    with pytest.raises(InputError, match=r"lengths\[0\] must be an integer .*got 1\.5"):
        prefix_digests([7, 8, 9], [1.5])


@pytest.mark.parametrize("offsets", [[0, 2], [1, 3], [0, 3, 2, 3], []])
def test_offsets_that_do_not_cut_the_tokens_up_are_refused(offsets):
    with pytest.raises(InputError, match="offsets must rise from 0 to 3"):
        batch_block_hashes([7, 8, 9], np.array(offsets, np.int64), 2)


def test_length_offsets_for_another_number_of_prompts_are_refused():
    with pytest.raises(InputError, match="2 offsets but 3 length_offsets"):
        batch_prefix_digests([7], np.array([0, 1]), [1], np.array([0, 0, 1]))


def test_a_block_size_below_one_is_refused():
    with pytest.raises(InputError, match=r"block_size must be at least 1 \(got 0\)"):
        block_hashes([1], 0)


def test_an_unknown_algorithm_lists_those_known():
    with pytest.raises(UnknownNameError) as caught:
        block_hashes([1], 1, algorithm="murmur")
    assert caught.value.known == ["murmur3", "sha256"]
    assert "did you mean murmur3?" in str(caught.value.hint)


def test_every_algorithm_says_how_long_its_digests_are():
    for algorithm in ALGORITHMS:
        (digest,) = prefix_digests([1], [1], algorithm=algorithm.name)
        assert len(digest) == algorithm.digest_bytes
