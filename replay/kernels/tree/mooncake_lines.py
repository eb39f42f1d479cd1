"""Plain Mooncake lines, scanned byte by byte: four keys, whole numbers, one list, nothing else."""

from __future__ import annotations

import numpy as np

from replay.kernels.jit import jit

NOT_PLAIN = -1
_MOST_DIGITS = 19  # always below 2^64
_LARGEST = np.uint64(2**63 - 1)
_NAMES = tuple(
    np.frombuffer(name, np.uint8)
    for name in (b'"timestamp"', b'"input_length"', b'"output_length"', b'"hash_ids"')
)
_TIMESTAMP, _INPUT, _OUTPUT, _IDS = _NAMES
_SPACE, _TAB, _CR, _LF = 32, 9, 13, 10
_MINUS, _COMMA, _COLON, _ZERO, _NINE = 45, 44, 58, 48, 57
_OPEN, _CLOSE, _BEGIN, _END = 91, 93, 123, 125


@jit
def scan_lines(data, numbers, lines, offsets, ids):
    """Fill in the rows of plain lines and return how many there are, NOT_PLAIN where one is else.

    `data` uint8 ends with a line feed. `numbers` int64[R, 3] takes timestamp, input and output
    length, `lines` int64[R] the number of each row's line, `offsets` int64[R + 1] where its ids
    start in `ids` int64. Nothing but space stands between the tokens of JSON, keys come in any
    order, each once, and integers are below 2^63 and have no sign.
    """
    at, row, line, place = 0, 0, 0, 0
    offsets[0] = 0
    while at < data.size:
        line += 1
        at = _past_space(data, at)
        if data[at] == _LF:
            at += 1
            continue
        if data[at] != _BEGIN:
            return NOT_PLAIN
        at += 1
        seen = 0
        for _ in range(4):
            at = _past_space(data, at)
            key = _key(data, at)
            if key < 0 or seen & (1 << key):
                return NOT_PLAIN
            seen |= 1 << key
            at = _past_space(data, at + _key_bytes(key))
            if data[at] != _COLON:
                return NOT_PLAIN
            at = _past_space(data, at + 1)
            if key < 3:
                at, numbers[row, key] = _integer(data, at)
                if at < 0:
                    return NOT_PLAIN
            else:
                if data[at] != _OPEN:
                    return NOT_PLAIN
                at = _past_space(data, at + 1)
                if data[at] == _CLOSE:
                    at += 1
                else:
                    while True:
                        at, ids[place] = _integer(data, at)
                        if at < 0:
                            return NOT_PLAIN
                        place += 1
                        at = _past_space(data, at)
                        if data[at] == _CLOSE:
                            at += 1
                            break
                        if data[at] != _COMMA:
                            return NOT_PLAIN
                        at = _past_space(data, at + 1)
            at = _past_space(data, at)
            if data[at] == _END:
                break
            if data[at] != _COMMA or seen == 15:
                return NOT_PLAIN
            at += 1
        if seen != 15 or data[at] != _END:
            return NOT_PLAIN
        at = _past_space(data, at + 1)
        if data[at] != _LF:
            return NOT_PLAIN
        at += 1
        lines[row] = line
        row += 1
        offsets[row] = place
    return row


@jit
def _past_space(data, at):
    """Return the place of the next byte that is no space; a line feed is none."""
    while data[at] == _SPACE or data[at] == _TAB or data[at] == _CR:
        at += 1
    return at


@jit
def _integer(data, at):
    """Return (place behind, value) of an integer, (-1, 0) where there is no plain one."""
    start, value = at, np.uint64(0)
    while _ZERO <= data[at] <= _NINE:
        value = value * np.uint64(10) + np.uint64(data[at] - _ZERO)
        at += 1
        if at - start > _MOST_DIGITS:
            return -1, np.int64(0)
    if at == start or (data[start] == _ZERO and at > start + 1) or value > _LARGEST:
        return -1, np.int64(0)
    return at, np.int64(value)


@jit
def _key(data, at):
    """Return which of the four keys stands here in quotes, -1 for none of them."""
    if _stands(data, at, _IDS):
        return 3
    if _stands(data, at, _TIMESTAMP):
        return 0
    if _stands(data, at, _INPUT):
        return 1
    if _stands(data, at, _OUTPUT):
        return 2
    return -1


@jit
def _key_bytes(key):
    if key == 0:
        return _TIMESTAMP.size
    if key == 1:
        return _INPUT.size
    return _OUTPUT.size if key == 2 else _IDS.size


@jit
def _stands(data, at, name):
    if at + name.size > data.size:
        return False
    for i in range(name.size):
        if data[at + i] != name[i]:
            return False
    return True
