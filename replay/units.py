"""Quantities a person writes, as the integers the code works with.

Bytes, nanoseconds, tokens and blocks are integers everywhere inside; text appears only at the
edges: `40GiB`, `80ms`, `10Mtokens`, `20000blocks`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from replay.errors import InputError

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
MAX_DURATION_NS = 2**60  # 36 years: added to any time of a trace, it is one still

_NUMBER = re.compile(r"\s*([0-9][0-9_,]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*([A-Za-zµ]*)\s*")
_BYTES = {
    "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
_DURATION_NS = {
    "ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9,
    "m": 60 * 10**9, "min": 60 * 10**9, "h": 3600 * 10**9, "d": 86_400 * 10**9,
}  # fmt: skip
_MULTIPLE = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_MAX_QUANTITY = 2**62
_SHARE = re.compile(r"([0-9]*\.?[0-9]+)\s*(%?)")
_NOUGHT = re.compile(r"0+(\.0+)?\s*[a-zµ]*")


@dataclass(frozen=True, slots=True)
class Capacity:
    """How much KV a cache may hold: `unit` is `inf`, `auto`, `blocks`, `tokens` or `bytes`."""

    unit: str
    amount: int = 0

    def __str__(self) -> str:
        if self.unit in ("inf", "auto"):
            return self.unit
        return format_bytes(self.amount) if self.unit == "bytes" else f"{self.amount}{self.unit}"


def parse_capacity(text: str) -> Capacity:
    """Return the capacity written as `inf`, `auto`, `20000blocks`, `10Mtokens` or `40GiB`.

    A bare number counts blocks. Raises InputError on anything else, and on a capacity below one.
    """
    word = text.strip().lower()
    if word in ("inf", "auto"):
        return Capacity(word)
    number, suffix = _split(text, "a capacity", "inf, auto, 20000blocks, 10Mtokens or 40GiB")
    for unit in ("blocks", "block", "tokens", "token"):
        if suffix.endswith(unit) and suffix[: -len(unit)] in _MULTIPLE:
            multiple = _MULTIPLE[suffix[: -len(unit)]]
            return Capacity(unit.rstrip("s") + "s", _whole(number * multiple, text, "a capacity"))
    if suffix in _MULTIPLE:
        return Capacity("blocks", _whole(number * _MULTIPLE[suffix], text, "a capacity"))
    if suffix in _BYTES:
        return Capacity("bytes", _whole(number * _BYTES[suffix], text, "a capacity"))
    raise InputError(
        f"not a capacity (got {text!r})", hint="write inf, auto, 20000blocks, 10Mtokens or 40GiB"
    )


def parse_duration_ns(text: str) -> int:
    """Return the nanoseconds in a duration such as `80ms`, `10m` or `1.5h`; a bare number is s."""
    number, suffix = _split(text, "a duration", "80ms, 30s, 10m or 1.5h")
    if (suffix or "s") not in _DURATION_NS:
        raise InputError(f"not a duration (got {text!r})", hint="write 80ms, 30s, 10m or 1.5h")
    amount = number * _DURATION_NS[suffix or "s"]
    if not 1 <= amount <= MAX_DURATION_NS:
        raise InputError(f"a duration must be between 1 ns and 36 years (got {text!r})")
    return int(amount)


def parse_bytes(text: str) -> int:
    """Return the bytes in a size such as `2GiB`, `4GB` or `500MiB`; raises InputError."""
    number, suffix = _split(text, "a size", "2GiB, 500MiB or 4GB")
    if suffix not in _BYTES:
        raise InputError(f"not a size (got {text!r})", hint="write 2GiB, 500MiB or 4GB")
    return _whole(number * _BYTES[suffix], text, "a size")


def parse_share(text: str) -> float:
    """Return the share 0..1 written as `0.1%` or `0.001`; raises InputError on anything else."""
    match = _SHARE.fullmatch(text.strip())
    share = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    if not 0 <= share <= 1:
        raise InputError(f"{text!r} is no share between 0 and 1", hint="write 0.1% or 0.001")
    return share


def parse_window(text: str) -> tuple[int, int | None]:
    """Return start and end in ns of `10m..40m`; either may be left out, the end is None then."""
    start, dots, stop = (part.strip() for part in text.partition(".."))
    if not dots or not (start or stop):
        raise InputError(
            f"not a window (got {text!r})", hint="write 10m..40m, ..1h or 30s.., from the start"
        )
    from_the_start = not start or _NOUGHT.fullmatch(start)
    return (
        0 if from_the_start else parse_duration_ns(start),
        parse_duration_ns(stop) if stop else None,
    )


def format_bytes(amount: int) -> str:
    """Return bytes in the largest binary unit that leaves a number of at least one."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        size = _BYTES[unit.lower()]
        if amount >= size:
            return f"{amount / size:.4g}{unit}"
    return f"{amount}B"


def format_duration(ns: int) -> str:
    """Return nanoseconds in the unit a person would pick: `850us`, `12.3ms`, `41.2s`, `59.0min`."""
    if ns < 1000:
        return f"{ns}ns"
    for unit in ("d", "h", "min", "s", "ms"):
        size = _DURATION_NS[unit]
        if ns >= 2 * size or (unit in ("s", "ms") and ns >= size):
            return f"{ns / size:.3g}{unit}"
    return f"{ns / 1000:.3g}us"


def _split(text: str, what: str, examples: str) -> tuple[Fraction, str]:
    match = _NUMBER.fullmatch(text)
    if not match:
        raise InputError(f"not {what} (got {text!r})", hint=f"write {examples}")
    exponent = re.search(r"[eE]([+-]?[0-9]+)$", match[1])
    if exponent and abs(int(exponent[1])) > 30:
        raise InputError(f"{what} out of range (got {text!r})", hint=f"write {examples}")
    return Fraction(match[1].replace("_", "").replace(",", "")), match[2].lower()


def _whole(amount: Fraction, text: str, what: str) -> int:
    if not 1 <= amount <= _MAX_QUANTITY:
        raise InputError(f"{what} must be between 1 and 2^62 of its smallest unit (got {text!r})")
    return int(amount)
