"""Notes of several files add up."""

import pytest

from replay.trace.added_notes import added_notes


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        (["1,999 requests were left out: no response", "2 requests were left out: no response"],
         "2,001 requests were left out: no response"),
        (["2 requests were left out", "2 requests were left out"], "4 requests were left out"),
        (["1 of 2 spans were", "3 of 4 spans were"], "4 of 6 spans were"),
        (["assumed (4 of 5 requests continue)", "assumed (1 of 1,000 requests continue)"],
         "assumed (5 of 1,005 requests continue)"),
        (["found: 12 root, 3 sibling end, 0 retry", "found: 1 root, 0 sibling end, 1,000 retry"],
         "found: 13 root, 3 sibling end, 1,000 retry"),
        (["turns are under-counted: 7 requests have none"] * 3,
         "turns are under-counted: 21 requests have none"),
    ],
)  # fmt: skip
def test_what_notes_count_is_added_up(notes, expected):
    assert added_notes([note] for note in notes) == [expected]


@pytest.mark.parametrize(
    "note",
    [
        "block ids of 16 tokens made from token ids",
        "the engine's default: 16 tokens a block",
        "arrivals are on ticks of about 3 s (distinct arrivals 9.8% of requests, under 50%)",
        "tokens are counted by gpt2, sha256 8770809789b7",
        "prompts have +1.2% tokens against 3.5 recorded",
        "merged from 60 files (all start at zero; ids are each file's own)",
    ],
)
def test_numbers_that_count_nothing_stay_as_they_are(note):
    assert added_notes([[note], [note]]) == [note]
    other = note.replace("16", "32").replace("3", "4")
    if other != note:
        assert added_notes([[note], [other]]) == [note, other]


def test_a_note_that_one_file_says_twice_counts_once_and_order_stays():
    assert added_notes([["b", "2 rows", "2 rows"], ["a", "b", "3 rows"]]) == ["b", "5 rows", "a"]
