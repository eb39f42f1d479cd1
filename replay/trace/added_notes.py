"""Notes of several files as notes of all of them: what they count is added up.

A note counts at its start (`31 requests were left out`), as a part of a whole (`4 of 5 requests
continue`) and in a list behind a colon (`root: 12 root, 3 retry`). Notes that are equal but for
such numbers become one, with the sums. Other numbers say how something is, not how many: notes that
differ in them stay apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_NUMBER = r"\d{1,3}(?:,\d{3})+|\d+"
_GAP = "\0"
_COUNTS = re.compile(
    rf"(?<![\w.,])(?:{_NUMBER}) of (?:{_NUMBER})(?= [a-z])"  # a part of a whole
    rf"|^(?:{_NUMBER})(?= (?!ms\b|ns\b|s\b|bytes\b))"  # at the start
    rf"|(?<=[:,] )(?:{_NUMBER})(?= (?!tokens\b|ms\b|ns\b|s\b|bytes\b)[a-z])"  # in a list
)


def added_notes(notes_of_files: Iterable[Iterable[str]]) -> list[str]:
    """Return the notes of all files, each once, counts added up, in order of first appearance."""
    sums: dict[str, list[int]] = {}
    for notes in notes_of_files:
        for note in dict.fromkeys(notes):
            template, counts = _split(note)
            known = sums.setdefault(template, [0] * len(counts))
            for place, count in enumerate(counts):
                known[place] += count
    return [_filled(template, counts) for template, counts in sums.items()]


def _split(note: str) -> tuple[str, list[int]]:
    """Return a note with a gap for each number that counts, and these numbers."""
    counts: list[int] = []

    def gap(found: re.Match[str]) -> str:
        counts.extend(int(number.replace(",", "")) for number in found[0].split(" of "))
        return re.sub(_NUMBER, _GAP, found[0])

    return _COUNTS.sub(gap, note), counts


def _filled(template: str, counts: list[int]) -> str:
    numbers = [f"{count:,}" for count in counts]
    parts = template.split(_GAP)
    return "".join(part + number for part, number in zip(parts, [*numbers, ""], strict=True))
