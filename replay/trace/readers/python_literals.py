"""Values as Python prints them, in the logs of servers written in it."""

from __future__ import annotations

import ast
import warnings

QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""


def text_in(literal: str) -> str | None:
    """Return the text that a literal stands for, None for what is no literal of a text."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes that mean nothing
            found = ast.literal_eval(literal)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return found if isinstance(found, str) else None


def token_ids_in(text: str) -> list[int]:
    """Return the token ids between the brackets of a list, none where one is no such id."""
    found = [one.strip() for one in text.split(",")]
    known = all(0 < len(one) <= 10 and one.isdecimal() and int(one) < 2**32 for one in found)
    return [int(one) for one in found] if known else []
