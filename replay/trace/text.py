"""Text to token ids: by the model's own tokenizer, or by an approximate splitter that says so.

A tokenizer.json (https://huggingface.co/docs/tokenizers) makes the ids a serving engine would see,
given the same file. Without one, text is cut where byte-pair tokenizers of today cut it first
(letters with the space before them, up to three digits, runs of punctuation, runs of white space),
and words longer than eight letters again. What chat templates put between messages, `<|im_end|>`
and the like, is one token, so that it does not grow together with the end of a message. Equal text
gives equal tokens, and nearly equal starts give equal starts, so hit rates keep their meaning;
token counts are estimates.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from replay.errors import InputError
from replay.reading import read_whole

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"  # one token each, about
_SPECIAL = r"<\|[a-z0-9_]{1,32}\|>"
_PIECES = re.compile(
    rf"{_SPECIAL}"
    rf"|[{_IDEOGRAPHS}]"
    rf"|[ ]?[^\W\d_{_IDEOGRAPHS}]{{1,8}}"
    r"|\d{1,3}"
    rf"|[ ]?(?:(?!{_SPECIAL})[^\w\s]|_){{1,4}}"
    r"|\s{1,16}(?=\s)|\s|."
)
_AT_ONCE_CHARACTERS = 1 << 24
UNKNOWN = "[…]"
_OF_TEXT = "token ids of the source's text, by "


class Splitter(Protocol):
    """Turns texts into token ids; `name` says how, for people."""

    name: str
    is_exact: bool

    def split(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the token ids of each text, uint32."""

    def join(self, tokens: np.ndarray) -> str | None:
        """Return the text of token ids, those it does not know as `[…]`; None where it knows none.

        Without a tokenizer it knows what it split before, in this process.
        """


def load_splitter(tokenizer: str | Path | None) -> Splitter:
    """Return the splitter of a tokenizer.json, or the approximate one where none is given.

    Raises InputError where the file cannot be read as a tokenizer, or where the package that
    reads it is not installed.
    """
    return APPROXIMATE if tokenizer is None else _of_file(Path(tokenizer))


class _Approximate:
    name = "an approximate splitter (no --tokenizer given)"
    is_exact = False

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._pieces: dict[int, str] = {}

    def split(self, texts: Sequence[str]) -> list[np.ndarray]:
        known = self._known
        found = []
        for text in texts:
            pieces = _PIECES.findall(text)
            for piece in set(pieces).difference(known):
                known[piece] = _number(piece)
            found.append(np.fromiter(map(known.__getitem__, pieces), np.uint32, len(pieces)))
        return found

    def join(self, tokens: np.ndarray) -> str | None:
        if len(self._pieces) < len(self._known):
            self._pieces = {number: piece for piece, number in self._known.items()}
        return _joined([self._pieces.get(number) for number in tokens.tolist()])


def _number(piece: str) -> int:
    """Return 32 bits that are the same in every process, unlike `hash`."""
    digest = hashlib.blake2b(piece.encode(errors="surrogatepass"), digest_size=4).digest()
    return int.from_bytes(digest, "little")


class _Exact:
    is_exact = True

    def __init__(self, tokenizer: Tokenizer, name: str) -> None:
        self.name = name
        self._tokenizer = tokenizer

    def split(self, texts: Sequence[str]) -> list[np.ndarray]:
        found: list[np.ndarray] = []
        for batch in _batches(texts):
            # Chat templates write special tokens out themselves.
            try:
                encodings = self._tokenizer.encode_batch_fast(batch, add_special_tokens=False)
            except Exception as error:  # the package raises no narrower class
                raise InputError(f"{self.name} fails: {error}") from error
            found += [np.asarray(encoding.ids, np.uint32) for encoding in encodings]
        return found

    def join(self, tokens: np.ndarray) -> str | None:
        runs = itertools.groupby(tokens.tolist(), self._has)
        return _joined([self._decoded(run) if known else None for known, run in runs])

    def _has(self, token: int) -> bool:
        return self._tokenizer.id_to_token(token) is not None

    def _decoded(self, tokens: Iterable[int]) -> str:
        return self._tokenizer.decode(list(tokens), skip_special_tokens=False)


def _joined(pieces: Sequence[str | None]) -> str | None:
    """Return the pieces as one text, each run of unknown ones as one mark; None of nothing else."""
    if all(piece is None for piece in pieces):
        return None
    return "".join(
        UNKNOWN if piece is None else piece
        for place, piece in enumerate(pieces)
        if piece is not None or place == 0 or pieces[place - 1] is not None
    )


def _batches(texts: Sequence[str]) -> list[list[str]]:
    """Return the texts in batches that hold so many characters at most, or one text."""
    batches: list[list[str]] = []
    room = 0
    for text in texts:
        if not batches or len(text) > room:
            batches.append([])
            room = _AT_ONCE_CHARACTERS
        room -= len(text)
        batches[-1].append(text.encode(errors="replace").decode())
    return batches


@lru_cache(maxsize=2)
def _of_file(path: Path) -> Splitter:
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError as error:
        raise InputError(
            "--tokenizer needs the package tokenizers", hint="pip install 'kvreplay[text]'"
        ) from error
    try:
        data = read_whole(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read the tokenizer {path}: {reason}") from error
    try:
        tokenizer = Tokenizer.from_buffer(data)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{path} is no tokenizer ({error})",
            hint="give the tokenizer.json that comes with the model",
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    digest = hashlib.sha256(data).hexdigest()[:12]
    splitter = _Exact(tokenizer, f"the tokenizer {path.name}, sha256 {digest}")
    _LOADED[splitter.name] = splitter
    return splitter


APPROXIMATE: Splitter = _Approximate()
_LOADED: dict[str, Splitter] = {APPROXIMATE.name: APPROXIMATE}


def content_of_text(splitter: Splitter) -> str:
    """Return how content identity was obtained of a trace whose text a splitter read."""
    return f"{_OF_TEXT}{splitter.name}"


def is_of_text(content: str) -> bool:
    """Return whether that is said of content: its tokens were text."""
    return content.startswith(_OF_TEXT)


def splitter_of(content: str) -> Splitter | None:
    """Return the splitter that read a trace's text, None unless this process has loaded it."""
    return _LOADED.get(content.removeprefix(_OF_TEXT)) if is_of_text(content) else None
