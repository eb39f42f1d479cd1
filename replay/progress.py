"""How long work tells that it goes on: a plain hook, no display."""

from __future__ import annotations

from collections.abc import Callable

Hook = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is (0: nobody knows)."""


def ignore(title: str, done: int, total: int) -> None:
    """Show nothing: the hook of whoever asked for no progress."""
