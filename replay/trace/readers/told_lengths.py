"""How long responses are: as their text says, or as the source counted where it counted more.

A log may hold less than what was generated: reasoning is left out or summed up, text is cut off. So
the source's count stands where it is larger than that of the text by more than a little: by more
than 8 tokens and 5 %; by more than 32 tokens and half where tokens are estimated. Where it is more
than twice as large and 32 tokens more, which no other tokenizer explains, the response is taken to
begin with what is not there (models reason first): nothing of its content is known. Else its text
stands first, and what the count has beyond it is content that no prompt repeats.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from replay.trace.media import RESPONSE, Media, media_in
from replay.trace.stand_ins import stand_ins

if TYPE_CHECKING:
    from replay.trace.readers.source import Source
    from replay.trace.readers.text_requests import TextRequest
    from replay.trace.text import Splitter

LITTLE_TOKENS, LITTLE_SHARE = 8, 0.05
LITTLE_ESTIMATED, SHARE_ESTIMATED = 32, 0.5
UNEXPLAINED_TOKENS, UNEXPLAINED_TIMES = 32, 2
_NONE = np.zeros(0, np.uint32)


def told_lengths(
    requests: Sequence[TextRequest],
    responses: Sequence[np.ndarray],
    splitter: Splitter,
    source: Source,
) -> tuple[np.ndarray, list[np.ndarray], list[str]]:
    """Return the length of each response, its token ids or none where unknown, and notes.

    `responses` are the token ids of their text, uint32.
    """
    output = np.zeros(len(requests), np.int64)
    known: list[np.ndarray] = []
    larger = unknown = beyond = 0
    for place, (request, tokens) in enumerate(zip(requests, responses, strict=True)):
        count = len(tokens)
        told = request.counted_tokens
        if request.response_tokens is not None:
            output[place] = request.response_tokens
            known.append(tokens if request.response_tokens == count else _NONE)
        elif told is None or not _is_larger(told, count, splitter):
            output[place] = count
            known.append(tokens)
        else:
            output[place] = told
            larger += 1
            beyond += told - count
            if told > max(UNEXPLAINED_TIMES * count, count + UNEXPLAINED_TOKENS):
                unknown += 1
                known.append(_NONE)
            else:
                rest = stand_ins(f"{source.sha256}:{request.line} response", told - count)
                known.append(np.concatenate([tokens, rest]))
    if not larger:
        return output, known, []
    note = (
        f"{larger:,} of {len(requests):,} responses are as long as the source counted, for their "
        f"text is shorter: {beyond:,} tokens more, of unknown content"
    )
    if unknown:
        note += f"; {unknown:,} of them are taken to begin with it (reasoning that is not shown)"
    return output, known, [note]


def _is_larger(told: int, count: int, splitter: Splitter) -> bool:
    """Return whether a count of the source is larger than that of the text by more than a little.

    A response that is closed by a call alone or by nothing may have no text at all.
    """
    if not count:
        return told > 0
    tokens, share = (
        (LITTLE_TOKENS, LITTLE_SHARE) if splitter.is_exact else (LITTLE_ESTIMATED, SHARE_ESTIMATED)
    )
    return told - count > max(tokens, share * count)


def media_notes(prompts: Sequence[str]) -> list[str]:
    """Return the note on media in these prompts, if there are any."""
    found: set[Media] = set()
    uses = tokens = 0
    for prompt in prompts:
        for media in media_in(prompt):
            if media.kind == RESPONSE:
                continue
            found.add(media)
            uses += 1
            tokens += media.tokens
    if not found:
        return []
    kinds = Counter(media.kind for media in found)
    told = []
    for kind, number in sorted(kinds.items()):
        lengths = sorted({media.tokens for media in found if media.kind == kind})
        shown = f"{lengths[0]:,}" if len(lengths) == 1 else f"{lengths[0]:,} to {lengths[-1]:,}"
        told.append(f"{number:,} {kind}{'s' * (number > 1 and kind[-1] == 'e')} of {shown} tokens")
    return [
        f"media stand for assumed numbers of tokens, {tokens:,} in {uses:,} places: "
        f"{', '.join(told)}; equal data or addresses are equal content"
    ]
