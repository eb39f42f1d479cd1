"""The first objects of a file of JSON, for telling formats apart; the last one may be cut off."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

_DECODER = json.JSONDecoder()
_MOST_ROWS = 100
_DEEPEST = 8
_SPACE = re.compile(r"[ \t\r\n]*")
_BETWEEN = re.compile(r"[ \t\r\n,]*")


class _Cut:
    """Stands for a value that the head ends within, where nothing of it can be told."""


@lru_cache(maxsize=4)
def head_rows(head: bytes) -> tuple[Mapping[str, object], ...]:
    """Return the first JSON objects in the first bytes of a file, up to a hundred.

    The file may be lines, an array, one document, or documents in a row. Faulty lines and values
    that are no objects are passed over, comments before them too; of an object that the bytes end
    within, what is there is returned.
    """
    text = head.decode(errors="replace")
    start = _start(text)
    rows: list[Mapping[str, object]] = []
    if start is None:
        return ()
    for value in _values(text, start):
        if isinstance(value, dict):
            rows.append(value)
        if len(rows) == _MOST_ROWS:
            break
    return tuple(rows)


def _start(text: str) -> int | None:
    """Return where the first value starts: behind blank lines, comments and other faulty lines."""
    at = 0
    while at < len(text):
        at = _past(_SPACE, text, at)
        if text[at : at + 1] in ("{", "["):
            return at
        line_end = text.find("\n", at)
        if line_end < 0:
            return None
        at = line_end + 1
    return None


def _values(text: str, start: int) -> Iterator[object]:
    at = start + 1 if text[start] == "[" else start
    at = _past(_BETWEEN, text, at)
    while at < len(text) and text[at] != "]":
        try:
            value, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            line_end = text.find("\n", at)
            if line_end < 0 or text[start] == "[" or text[line_end + 1 : line_end + 2] != "{":
                yield _partial(text, at, 0)[0]
                return
            at = line_end + 1  # a faulty line among others
            continue
        yield value
        at = _past(_BETWEEN, text, at)


def _partial(text: str, at: int, depth: int) -> tuple[object, int | None]:
    """Return what a value shows that may be cut off, and where it ends, None where it does not."""
    try:
        return _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        opening = text[at : at + 1]
    if depth >= _DEEPEST or opening not in ("{", "["):
        return _Cut(), None
    if opening == "[":
        return _partial_list(text, at + 1, depth + 1), None
    return _partial_object(text, at + 1, depth + 1), None


def _partial_list(text: str, at: int, depth: int) -> list[object]:
    found: list[object] = []
    place: int | None = _past(_BETWEEN, text, at)
    while place is not None and place < len(text):
        value, place = _partial(text, place, depth)
        if not isinstance(value, _Cut):
            found.append(value)
        if place is not None:
            place = _past(_BETWEEN, text, place)
    return found


def _partial_object(text: str, at: int, depth: int) -> dict[str, object]:
    found: dict[str, object] = {}
    place: int | None = _past(_BETWEEN, text, at)
    while place is not None and text[place : place + 1] == '"':
        name, place = _partial(text, place, depth)
        if place is None or not isinstance(name, str):
            break
        place = _past(_SPACE, text, place)
        if text[place : place + 1] != ":":
            break
        value, place = _partial(text, _past(_SPACE, text, place + 1), depth)
        if not isinstance(value, _Cut):
            found[name] = value
        if place is not None:
            place = _past(_BETWEEN, text, place)
    return found


def _past(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at
