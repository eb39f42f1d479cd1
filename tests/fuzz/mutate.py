"""Mutations: of bytes, of the structure of JSON and YAML, of the cells of CSV."""

from __future__ import annotations

import copy
import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import yaml
import zstandard

MOST_BYTES = 200_000  # a case stays small: what is slow then is a fault

PIECES = (
    b"", b"\n", b"\r", b"\r\n", b"}", b"]", b"{", b"[", b"null", b"1e3", b'"', b"-", b"\\", b"7",
    b",", b".", b":", b"\t", b"\0", b"\x1b[31m", b"\xff", b"\xc2\x9b", b"\xe2\x80\xae",
    b"\xed\xa0\x80", b"\xef\xbb\xbf", b"NaN", b"1e400", b"-1", b"0", b"99999999999999999999", b"#",
    b"//", b"&a", b"*a", b"!!python/object:os.system", b"---", b"...", b"PAR1", b"\x1f\x8b",
)  # fmt: skip


class Raw(str):
    """Text that stands in a document as it is, where no value of Python is written so."""


NUMBERS: tuple[object, ...] = (
    0, -1, 1, 2, 7, 100, 4096, 2**20, 2**24, 2**31 - 1, 2**31, 2**32, 10**8, 436_182_219,
    2**53 + 1, 10**18, 2**62, 2**63 - 1, 2**63, -(2**63), 2**64, 10**30, -(10**30), 0.5, -0.5, 1.5,
    2.0, 1e-9, 5e-324, 1e18, 1e300, 1.7e9, 1.7e12, 1.7e18, -0.0,
    Raw("1e400"), Raw("-1e400"), Raw("NaN"), Raw("Infinity"), Raw("1" * 5000),
    Raw("0." + "1" * 400), Raw("1e-400"),
)  # fmt: skip
TEXTS = (
    "", " ", "a", "0", "-1", "1e9", "inf", "nan", "NaN", "null", "true", "\0", "\x1b]0;x\x07",
    "\x1b[2J", "\u009b31m", "\u202e", "\u2028", "\ud800", "\udfff\ud800", "é" * 50, "x" * 3000,
    "../../etc/passwd", "/dev/null", "-", "--help", "{}", "[]", '{"a": 1}', "[[", '"', "'", ";",
    "%s%n", "{{ 1 }}", "2024-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00",
    "2024-02-30", "1970-01-01", "user", "assistant", "system", "tool", "1" * 400, "0x10", "1_000",
    "١٢", "NULL", "session_id", "arrival_ns", "request_id", "block_ids", "Σ", "ı", "10TiB",
    "1e30GiB", "infGiB", "5ns", "1e9d", "80ms",
)  # fmt: skip


def mutated(random: Random, sample: bytes, kind: str, others: tuple[bytes, ...] = ()) -> bytes:
    """Return a sample with one change or a few; `kind` is jsonl, json, yaml, csv, text or binary.

    `others` are samples that parts may be taken from.
    """
    data = sample
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 5))):
        structural = _STRUCTURAL.get(kind)
        if structural is not None and random.random() < 0.8:
            changed = structural(random, data)
            data = _of_bytes(random, data, others) if changed is None else changed
        else:
            data = _of_bytes(random, data, others)
        data = data[:MOST_BYTES]
    return _packed(random, data) if kind != "binary" and random.random() < 0.02 else data


def _of_bytes(random: Random, data: bytes, others: tuple[bytes, ...]) -> bytes:
    start = random.randint(0, len(data))
    stop = min(len(data), start + random.choice((0, 1, 1, 2, 4, 9, 40)))
    roll = random.randrange(12)
    if roll == 0 and data:  # one bit
        place = random.randrange(len(data))
        return data[:place] + bytes([data[place] ^ 1 << random.randrange(8)]) + data[place + 1 :]
    if roll == 1:
        return data[:start]
    if roll == 2:
        return data[start:]
    if roll == 3:
        return data[:start] + random.randbytes(random.choice((1, 2, 4, 8))) + data[stop:]
    if roll == 4:
        return data[:stop] + data[start:stop] * random.choice((1, 2, 50)) + data[stop:]
    if roll == 5 and others:
        return data + random.choice((b"", b"\n")) + random.choice(others)
    if roll == 6 and others:
        other = random.choice(others)
        return data[:start] + other[random.randint(0, len(other)) :]
    if roll == 7:
        return data.replace(b"\n", random.choice((b"\r\n", b"\r", b"\n\n", b"\n \n")))
    if roll == 8 and others:
        other = random.choice(others)
        place = random.randint(0, len(other))
        return data[:start] + other[place : place + 30] + data[stop:]
    return data[:start] + random.choice(PIECES) + data[stop:]


def _packed(random: Random, data: bytes) -> bytes:
    """Return the data as gzip or zstandard, whole or with a fault of its own."""
    packed = gzip.compress(data, 1) if random.random() < 0.5 else zstandard.compress(data)
    roll = random.randrange(5)
    if roll == 0:
        return packed[: random.randint(0, len(packed))]
    if roll == 1:
        return packed + packed
    if roll == 2:
        place = random.randrange(len(packed))
        return packed[:place] + bytes([packed[place] ^ 255]) + packed[place + 1 :]
    if roll == 3:
        return zlib.compress(data)
    return packed


def odd(random: Random, pool: list[Any]) -> Any:
    """Return a value that may stand where another was expected; `pool` are values of the sample."""
    roll = random.randrange(10)
    if roll < 4:
        return random.choice(NUMBERS)
    if roll < 6:
        return random.choice(TEXTS)
    if roll < 8 and pool:
        return copy.deepcopy(random.choice(pool))
    deep = random.choice((1, 3, 70, 2000))
    return random.choice(
        (
            None, True, False, [], {}, [None], [[]], {"a": {}}, [1, 2, 3], ["a"], [[1], [2]],
            {"type": "text"}, [{"role": "user", "content": "hi"}], [0] * 1000,
            Raw("[" * deep + "]" * deep), Raw('{"a":' * deep + "1" + "}" * deep),
        )
    )  # fmt: skip


def changed_tree(random: Random, tree: Any) -> Any:
    """Return plain data with one of its values, keys or lists changed, in place where it can be."""
    places = list(_places(tree))
    pool = [holder[key] for holder, key in places]
    if not places:
        return odd(random, [])
    holder, key = random.choice(places)
    roll = random.randrange(12)
    if roll < 5:
        holder[key] = odd(random, pool)
    elif roll == 5:
        del holder[key]
    elif roll == 6 and isinstance(holder, dict):
        names = [name for other, name in places if isinstance(other, dict)]
        name = random.choice((random.choice(names), random.choice(TEXTS), str(key).upper()))
        holder[name] = holder.pop(key) if random.random() < 0.5 else odd(random, pool)
    elif roll == 7:
        holder[key] = random.choice(([holder[key]], {"a": holder[key]}, json_text(holder[key])))
    elif roll == 8 and isinstance(holder, list):
        holder[key:key] = [holder[key]] * random.choice((1, 2, 300))
    elif roll == 9:
        other, place = random.choice(places)
        one = copy.deepcopy(holder[key])
        two = copy.deepcopy(other[place])
        holder[key], other[place] = two, one
    elif roll == 10 and isinstance(holder[key], int | float):
        factor = random.choice((0, -1, 1000, 1e6, 1e9, 1e-3, 0.5))
        moved = holder[key] * factor if abs(holder[key]) < 1e200 else 0
        holder[key] = random.choice((moved, str(holder[key]), float(moved), holder[key] + 1))
    elif isinstance(holder[key], str):
        text = holder[key]
        place = random.randint(0, len(text))
        holder[key] = random.choice(
            (text[:place], text[:place] + random.choice(TEXTS) + text[place:], text.upper(),
             text * 2, f" {text} ")
        )  # fmt: skip
    else:
        holder[key] = odd(random, pool)
    return tree


def _places(tree: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Yield every (holder, key or index) of plain data."""
    keys = tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in list(keys):
        yield tree, key
        if depth < 12:
            yield from _places(tree[key], depth + 1)


def json_text(value: Any) -> str:
    """Return JSON text; a Raw stands as it is."""
    raws: list[str] = []

    def hidden(one: Any) -> Any:
        if isinstance(one, Raw):
            raws.append(str(one))
            return f"@raw{len(raws) - 1}@"
        if isinstance(one, dict):
            return {key: hidden(inner) for key, inner in one.items()}
        return [hidden(inner) for inner in one] if isinstance(one, list) else one

    text = json.dumps(hidden(value))
    for place, raw in enumerate(raws):
        text = text.replace(f'"@raw{place}@"', raw)
    return text


def _json(random: Random, data: bytes) -> bytes | None:
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return None
    text = json_text(changed_tree(random, tree))
    return _key_twice(random, text).encode("utf-8", "surrogatepass")


def _json_lines(random: Random, data: bytes) -> bytes | None:
    lines = [line for line in data.split(b"\n") if line.strip()]
    if not lines or len(lines) > 500:
        return None
    roll = random.randrange(12)
    place = random.randrange(len(lines))
    if roll == 0:
        del lines[place]
    elif roll == 1:
        lines[place:place] = [lines[place]] * random.choice((1, 3, 40))
    elif roll == 2:
        random.shuffle(lines)
    elif roll == 3:
        lines.insert(place, random.choice((b"", b"{}", b"[]", b"null", b"1", b"# x", b'{"a": 1}')))
    elif roll == 4:
        return b"[" + b",\n".join(lines) + b"]"
    else:
        changed = _json(random, lines[place])
        if changed is None:
            return None
        lines[place] = changed
    return b"\n".join(lines) + random.choice((b"\n", b"\n", b"", b"\n\n"))


def _key_twice(random: Random, text: str) -> str:
    """Return JSON, now and then with the first key of an object given twice."""
    if random.random() > 0.03:
        return text
    place = text.find('{"', random.randrange(len(text)))
    end = text.find(",", place)
    inner = text[place + 1 : end]
    return f"{text[: place + 1]}{inner}, {text[place + 1 :]}" if 0 <= place < end else text


def _yaml(random: Random, data: bytes) -> bytes | None:
    try:
        tree = yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    tree = changed_tree(random, json.loads(json.dumps(tree, default=str)))
    text = json_text(tree)
    if random.random() < 0.1:
        text = text.replace("{", random.choice(("{&a ", "{*a: 1, ", "!!map {", "{<<: *a, ")), 1)
    return text.encode("utf-8", "surrogatepass")


def _csv(random: Random, data: bytes) -> bytes | None:
    try:
        rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
    except (UnicodeDecodeError, csv.Error):
        return None
    cells = [(row, place) for row in rows for place in range(len(row))]
    if not cells:
        return None
    row, place = random.choice(cells)
    roll = random.randrange(10)
    if roll < 5:
        value = odd(random, [one[where] for one, where in cells])
        row[place] = str(value) if isinstance(value, str | int | float) else json_text(value)
    elif roll == 5:
        row.insert(place, random.choice(TEXTS))
    elif roll == 6:
        del row[place]
    elif roll == 7:
        rows.insert(random.randint(0, len(rows)), list(random.choice(rows)))
    elif roll == 8:
        for one in rows:
            if place < len(one):
                del one[place]
    else:
        row[place] = row[place] + random.choice(('"', "\n", ",", "\r", "\0", "'"))
    out = io.StringIO(newline="")
    delimiter = "," if random.random() < 0.95 else random.choice(";\t|")
    try:
        csv.writer(out, lineterminator="\n", delimiter=delimiter).writerows(rows)
    except csv.Error:
        return None
    return out.getvalue().encode("utf-8", "surrogatepass")


_STRUCTURAL: dict[str, Callable[[Random, bytes], bytes | None]] = {
    "jsonl": _json_lines, "json": _json, "yaml": _yaml, "csv": _csv,
}  # fmt: skip
