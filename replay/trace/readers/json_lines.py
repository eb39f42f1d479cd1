"""JSON lines, walked slowly so that every fault gets its line and column."""

from __future__ import annotations

import json
from collections.abc import Iterator

from replay.trace.problems import ProblemList, shown


class _RefusedError(ValueError):
    """Raised inside the decoder for JSON that is well formed and still refused."""


def walk_objects(data: bytes, problems: ProblemList) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield (line, object) for each line that holds one; count the others as problems.

    Lines count from 1 and end at a line feed; blank ones are passed over. A key given twice and
    the constants NaN and Infinity are refused, which the json module would let pass.
    """
    decoder = json.JSONDecoder(object_pairs_hook=_no_key_twice, parse_constant=_no_constant)
    for line, raw in enumerate(data.split(b"\n"), start=1):
        if not raw.strip():
            continue
        try:
            value = decoder.decode(raw.decode("utf-8"))
        except UnicodeDecodeError as error:
            byte = raw[error.start]
            problems.add(
                f"not UTF-8 text (got byte 0x{byte:02x})", line=line, column=error.start + 1
            )
        except json.JSONDecodeError as error:
            message = f"not valid JSON: {error.msg.lower()} (got {shown(_around(raw, error.pos))})"
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


def _around(raw: bytes, position: int) -> str:
    text = raw.decode("utf-8").rstrip()
    return text[position : position + 20] if position < len(text) else "the end of the line"


def _no_key_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _RefusedError(f"key {shown(twice)} given twice")
    return found


def _no_constant(name: str) -> object:
    raise _RefusedError(f"not valid JSON: {name} is not a number (got {name})")
