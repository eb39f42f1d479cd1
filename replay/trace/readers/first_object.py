"""The first object of a file of JSON, for telling formats apart."""

from __future__ import annotations

import json

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
