"""Sessions whose rows say what each turn adds, put together into whole prompts.

    {"session_id": "a", "input_length": 1536, "output_length": 320, "hash_ids": [0, 1, 2],
     "timestamp": 0.0}
    {"session_id": "a", "input_length": 768, "output_length": 180, "hash_ids": [1000, 1001],
     "delay": 2450.3}

The second prompt is 1536 + 320 + 768 tokens: the first one, its response, and what is new. AIPerf
writes and replays rows so (https://github.com/ai-dynamo/aiperf, agentic_code_gen/README.md, and
`deltas_without_responses`, its default), Dynamo calls them `mooncake-delta`. Whole prompts look the
same but for what they hold, so the rows themselves tell, once for a file.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace

from replay.trace.problems import ProblemList
from replay.trace.readers.checked_row import LARGEST_TOKENS
from replay.trace.readers.content_requests import ContentRequest

BLOCK_SIZE = 512
WHOLE_MODE = "message_array_with_responses"
DELTA_MODES = ("deltas_without_responses", "deltas_with_responses")
CONTENT = (
    "block ids of the source, put together by session from what each turn adds; a response is "
    "known as part of the prompt that follows"
)


@dataclass(frozen=True, slots=True)
class Signs:
    """How many follow-ups of sessions are like additions alone, and how many like whole prompts."""

    deltas: int = 0
    wholes: int = 0

    @property
    def are_deltas(self) -> bool:
        """Whether the rows of a file say what each turn adds."""
        return self.deltas > self.wholes

    @property
    def note(self) -> str | None:
        """Return what was taken for granted, None where nothing was."""
        total = self.deltas + self.wholes
        if self.are_deltas:
            unlike = f"; {self.wholes:,} look like whole prompts" if self.wholes else ""
            return (
                f"{self.deltas:,} of {total:,} follow-ups are shorter than what was said before "
                "and share no block with it: input_length and hash_ids are taken for what a turn "
                f"adds to the prompt and response before it{unlike}"
            )
        if self.deltas:
            return (
                f"{self.deltas:,} of {total:,} follow-ups share no block with the prompt before "
                "them and are shorter; all rows are taken for whole prompts"
            )
        return None


def signs_of(
    requests: Sequence[ContentRequest],
    *,
    size: int,
    paced: Container[int],
    modes: Container[object] = (),
) -> Signs:
    """Return what the follow-ups of sessions look like, requests in the order of the file.

    A whole prompt shares a block with those before it, or is longer than they and their responses.
    One that is shorter and shares no block is an addition, where its line is in `paced`: it waits
    for the turn before it and has no time of its own. Requests of one user with times are known to
    share nothing. `modes` are the values of `context_mode` that rows state, which settle it.
    """
    if WHOLE_MODE in modes:
        return Signs(wholes=1)
    if any(mode in modes for mode in DELTA_MODES):
        return Signs(deltas=1)
    deltas = wholes = 0
    sessions: dict[str, _Said] = {}
    for request in requests:
        if request.session is None:
            continue
        ids = request.block_ids or ()
        said = sessions.setdefault(request.session, _Said())
        shorter = request.line in paced and request.input_tokens < said.prompt_tokens
        longer = request.input_tokens >= said.tokens
        if said.blocks and ids and said.prompt_tokens >= size:  # a full block keeps its id
            shares = not said.blocks.isdisjoint(ids)
            wholes += shares
            deltas += shorter and not shares
        elif said.tokens:
            wholes += longer
            deltas += shorter
        said.blocks.update(ids)
        said.prompt_tokens = max(said.prompt_tokens, request.input_tokens)
        said.tokens = max(said.tokens, request.input_tokens + request.output_tokens)
    return Signs(deltas, wholes)


@dataclass(slots=True)
class _Said:
    """What a session said so far, if its prompts are whole: blocks, and the longest of lengths."""

    blocks: set[int] = field(default_factory=set)
    prompt_tokens: int = 0
    tokens: int = 0


def put_together(
    requests: Sequence[ContentRequest],
    problems: ProblemList,
    *,
    size: int,
    with_responses: bool = False,
) -> list[ContentRequest]:
    """Return requests with whole prompts, of rows that say what each turn adds.

    Where rows have blocks, prompts become segments: a block each, and each response in its place,
    unless the additions hold responses already. Prompts that grow too long are added to the
    problems.
    """
    known = any(request.block_ids for request in requests)
    segments = _Segments(size)
    said: dict[str, tuple[list[int], list[int], int]] = {}
    found = []
    for request in requests:
        ids, lengths, before = said.get(request.session or "", ([], [], 0))
        tokens = before + request.input_tokens
        if tokens > LARGEST_TOKENS:
            problems.add(
                f"with all that was said before, the prompt has {tokens} tokens", line=request.line
            )
            continue
        new_ids, new_lengths = segments.of(request) if known else ([], [])
        ids, lengths = ids + new_ids, lengths + new_lengths
        response = segments.fresh() if known else None
        found.append(
            replace(
                request,
                input_tokens=tokens,
                block_ids=None,
                segments=ids if known else None,
                segment_tokens=lengths if known else None,
                response_segment=response,
            )
        )
        if request.session is None:
            continue
        if not with_responses and request.output_tokens:
            tokens += request.output_tokens
            ids = ids if response is None else [*ids, response]
            lengths = [*lengths, request.output_tokens] if known else lengths
        said[request.session] = ids, lengths, tokens
    return found


class _Segments:
    """Names segments: equal for blocks of one id and length, new for all else."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: dict[tuple[int, int], int] = {}
        self._next = 0

    def of(self, request: ContentRequest) -> tuple[list[int], list[int]]:
        """Return the segments of a row's own tokens, and their lengths."""
        tokens = request.input_tokens
        if not request.block_ids:
            return [self.fresh()], [tokens]
        lengths = [self._size] * len(request.block_ids)
        lengths[-1] = tokens - self._size * (len(request.block_ids) - 1)
        pairs = zip(request.block_ids, lengths, strict=True)
        return [self._named(pair) for pair in pairs], lengths

    def fresh(self) -> int:
        """Return a segment that nothing else is."""
        self._next += 1
        return self._next - 1

    def _named(self, pair: tuple[int, int]) -> int:
        if pair not in self._known:
            self._known[pair] = self.fresh()
        return self._known[pair]
