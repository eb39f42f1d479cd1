"""The first object of a file of JSON, for telling formats apart."""

from __future__ import annotations

import json
from collections.abc import Iterator

_DECODER = json.JSONDecoder()


def first_object(head: bytes) -> dict[str, object] | None:
    """Return the first JSON object in the first bytes of a file, None where there is none whole.

    The file may be lines, an array or one document; `head` may end anywhere.
    """
    text = head.decode(errors="replace").lstrip()
    if text.startswith("["):
        text = text[1:].lstrip()
    try:
        value, _ = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def first_objects(head: bytes, most: int = 50) -> Iterator[dict[str, object]]:
    """Yield the JSON objects that stand whole in the first bytes of a file, in order.

    Ends at the first that is no object, or is cut off. The file may be as `first_object` takes it.
    """
    text = head.decode(errors="replace").lstrip()
    if text.startswith("["):
        text = text[1:].lstrip()
    for _ in range(most):
        try:
            value, end = _DECODER.raw_decode(text)
        except (ValueError, RecursionError):
            return
        if not isinstance(value, dict):
            return
        yield value
        text = text[end:].lstrip().removeprefix(",").lstrip()
