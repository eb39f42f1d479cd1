"""JSON lines, walked slowly so that every fault gets its line and column."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace

from replay.repeated import first_repeated
from replay.trace.problems import ProblemList, shown
from replay.trace.readers.decimals import written_float
from replay.trace.readers.source import Source

_SPACE = re.compile(r"[ \t\r\n]*")
_WRITTEN = re.compile(rb"[^\s][^\n]*")  # from the first character of a line on


_ARRAY_HINT = "the file is one JSON document: line numbers count its entries"
_ENDS_EARLY = "the file ends early, in the middle of its JSON: it was cut off"


def as_lines(source: Source, problems: ProblemList) -> Source:
    """Return a source of one JSON value a line: an array's entries, or the values one by one.

    JSON has no line feed inside a value that could not be a space, so nothing changes but the
    places; `problems` gets a hint that says so. A file of lines is returned as it is, and so is
    one that is no JSON, for `walk_objects` to say where. Raises TraceError for a document of
    several lines that ends early.
    """
    data = source.data.strip()
    if data.startswith(b"["):
        entries = _entries(data)
    elif data.startswith(b"{") and not _is_lines(data):
        entries = [data.replace(b"\r", b" ").replace(b"\n", b" ")] if _is_json(data) else None
    else:
        entries = None
    if entries is None:
        if data[:1] in (b"[", b"{") and b"\n" in data and not _is_lines(data) and _is_cut(data):
            problems.add(_ENDS_EARLY, line=data.count(b"\n") + 1)
            problems.raise_any()
        return source
    problems.hint(_ARRAY_HINT)
    return replace(source, data=b"\n".join(entries))


def _is_lines(data: bytes) -> bool:
    return _is_json(data.split(b"\n", 1)[0])


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


def _is_cut(data: bytes) -> bool:
    """Return whether these bytes are a JSON value but for an end that is missing."""
    try:
        json.loads(data)
    except json.JSONDecodeError as error:
        return _at_the_end(error)
    except (ValueError, RecursionError):
        pass
    return False


def _at_the_end(error: json.JSONDecodeError) -> bool:
    """Return whether a fault of JSON is that there is no more of it."""
    return error.msg.startswith("Unterminated string") or not error.doc[error.pos :].strip()


def _entries(data: bytes) -> list[bytes] | None:
    """Return the entries of a JSON array as they stand, on one line each."""
    try:
        text, decoder = data.decode(), json.JSONDecoder()
        place, found = _past_space(text, 1), []
        while text[place : place + 1] != "]":
            _, end = decoder.raw_decode(text, place)
            found.append(text[place:end].replace("\r", " ").replace("\n", " ").encode())
            place = _past_space(text, end)
            if text[place : place + 1] == ",":
                place = _past_space(text, place + 1)
            elif text[place : place + 1] != "]":
                return None
    except (ValueError, RecursionError):
        return None
    return found if place == len(text) - 1 else None


def _past_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place


class _RefusedError(ValueError):
    """Raised inside the decoder for JSON that is well formed and still refused."""


def walk_objects(data: bytes, problems: ProblemList) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield (line, object) for each line that holds one; count the others as problems.

    Lines count from 1 and end at a line feed; blank ones are passed over. A key given twice and
    the constants NaN and Infinity are refused, which the json module would let pass. Decimals keep
    the digits they are written with.
    """
    decoder = json.JSONDecoder(
        object_pairs_hook=_no_key_twice, parse_constant=_no_constant, parse_float=written_float
    )
    for line, raw, is_last in _numbered(data):
        try:
            value = decoder.decode(raw.decode("utf-8"))
        except UnicodeDecodeError as error:
            byte = raw[error.start]
            problems.add(
                f"not UTF-8 text (got byte 0x{byte:02x})", line=line, column=error.start + 1
            )
        except json.JSONDecodeError as error:
            message = f"not valid JSON: {error.msg.lower()} (got {shown(_around(raw, error.pos))})"
            if is_last and _at_the_end(error):
                message = f"the file ends early, in the middle of this line: {message}"
            problems.add(message, line=line, column=error.pos + 1)
        except _RefusedError as error:
            problems.add(str(error), line=line)
        except ValueError:  # int() refuses thousands of digits
            problems.add("integer out of range", line=line)
        except RecursionError:
            problems.add("nested too deeply", line=line)
        else:
            if isinstance(value, dict):
                yield line, value
            else:
                problems.add(f"expected a JSON object (got {shown(value)})", line=line)


def _numbered(data: bytes) -> Iterator[tuple[int, bytes, bool]]:
    """Yield (line from 1, the line, whether the data ends with it) of lines that are not blank.

    However many blank ones there are, none is kept or visited.
    """
    line, at = 1, 0
    for found in _WRITTEN.finditer(data):
        line += data.count(b"\n", at, found.start())
        at = found.end()
        start = data.rfind(b"\n", 0, found.start()) + 1
        yield line, data[start:at], at == len(data)


def _around(raw: bytes, position: int) -> str:
    text = raw.decode("utf-8").rstrip()
    return text[position : position + 20] if position < len(text) else "the end of the line"


def _no_key_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = first_repeated(name for name, _ in pairs)
        raise _RefusedError(f"key {shown(twice)} given twice")
    return found


def _no_constant(name: str) -> object:
    raise _RefusedError(f"not valid JSON: {name} is not a number (got {name})")
