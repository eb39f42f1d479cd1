"""Images, audio, video and files inside a text: runs of tokens that a hash of their content names.

An engine gives such a part a number of tokens and tells it from others by a hash of what is in it.
Until text becomes tokens, a part stands in it as a mark between two noncharacters of Unicode, which
no text that is meant for exchange has (https://www.unicode.org/versions/Unicode16.0.0, 23.7).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from replay.trace.stand_ins import stand_ins

if TYPE_CHECKING:
    from replay.trace.text import Splitter

_START, _STOP = "\ufdd0", "\ufdd1"
_MARK = re.compile(f"{_START}([a-z]+):([0-9]{{1,6}}):([0-9a-f]{{32}}){_STOP}")
_MOST_TOKENS = 999_999
RESPONSE = "response"  # a kind of its own: a response that is not there, and has a told length


@dataclass(frozen=True, slots=True)
class Media:
    """One part that is no text: its kind (image, audio, video, file), length, and hash."""

    kind: str
    tokens: int
    digest: str

    def mark(self) -> str:
        """Return what stands for it in a text."""
        return f"{_START}{self.kind}:{self.tokens}:{self.digest}{_STOP}"


def media_of(kind: str, content: str, tokens: int) -> Media:
    """Return the part with this content, an address or the data themselves."""
    digest = hashlib.blake2b(content.encode(errors="surrogatepass"), digest_size=16).hexdigest()
    return Media(kind, max(1, min(tokens, _MOST_TOKENS)), digest)


def media_in(text: str) -> Iterator[Media]:
    """Yield the parts that stand in a text, in order."""
    if _START in text:
        for kind, tokens, digest in _MARK.findall(text):
            yield Media(kind, int(tokens), digest)


def token_ids(splitter: Splitter, texts: Sequence[str]) -> list[np.ndarray]:
    """Return the token ids of each text, uint32, with those of the media that stand in it."""
    marked = {place for place, text in enumerate(texts) if _MARK.search(text)}
    if not marked:
        return splitter.split(texts)
    pieces: list[str] = []
    for place, text in enumerate(texts):
        pieces += _MARK.split(text)[::4] if place in marked else [text]
    split = iter(splitter.split(pieces))
    return [_joined(text, split) if at in marked else next(split) for at, text in enumerate(texts)]


def _joined(text: str, split: Iterator[np.ndarray]) -> np.ndarray:
    found = [next(split)]
    for media in media_in(text):
        found += [stand_ins(f"{media.tokens} {media.digest}", media.tokens), next(split)]
    return np.concatenate(found)
