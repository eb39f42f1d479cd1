"""Text that may come from a file, as it may be shown: it cannot steer a terminal or forge lines.

What a trace calls its models, a path, a column or a message of a library may hold escape sequences,
controls of C0 and C1, marks that turn the direction of writing, and other characters that nobody
sees. They are shown as Python writes them in a string, such as `\\x1b`.
"""

from __future__ import annotations

from typing import Any

_KEPT_IN_PICTURES = "\xa0\n\t"  # the first of them where no line may end


def printable(text: str, *, keep: str = "") -> str:
    """Return a text with every character that cannot be printed escaped, but those of `keep`."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text
    )


def printable_lines(text: str) -> str:
    """Return `printable` for a text of several lines, which may be indented by tabs."""
    return printable(text, keep="\n\t")


def drawable(part: Any) -> Any:
    """Return a specification of a picture, or rows that it draws, with all texts `printable`.

    No drawing survives them: what draws SVG and PNG aborts the process at a control character, and
    half of a pair of surrogates has no UTF-8. Tuples become lists, as JSON has them.
    """
    if isinstance(part, str):
        return printable(part, keep=_KEPT_IN_PICTURES)
    if isinstance(part, dict):
        return {drawable(name): drawable(value) for name, value in part.items()}
    if isinstance(part, list | tuple):
        return [drawable(value) for value in part]
    return part
