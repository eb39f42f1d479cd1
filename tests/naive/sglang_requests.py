"""What SGLang's scheduler decides by, and what it decides about, for its slow twin."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from tests.naive.token_tree import Node, Tokens

CLIP = 4096  # the most tokens that a response counts for in admission
REFRESH_EVERY, REFRESHED = 32, 128
MOST_MATCHED = 128  # waiting requests up to which lpm and hrrn match and sort
SHORT = 32  # what a prompt has to have in common with a waiting one to be late
RETRACT_TOKENS = 20
PREFILL, DECODE, MIXED, NOTHING = 0, 1, 2, 3


@dataclass(frozen=True)
class Rules:
    capacity: int
    chunk: int = 8192  # 0: prompts are not cut
    rows: int = 256
    page: int = 1
    max_prefill: int = 16384
    conservativeness: int = 100
    order: str = "fcfs"
    cached: bool = True
    mixed: bool = False
    ignore_eos: bool = False
    priorities: bool = False
    threshold: int = 10
    interval: int = 0
    max_requests: int = 0
    overlap: bool = False
    step_ns: int = 5_000_000
    token_ns: int = 20_000
    context_ns: int = 30

    @property
    def mixes(self) -> bool:
        return self.mixed and self.chunk > 0


@dataclass(eq=False)
class Request:
    idx: int
    arrival_ns: int
    prompt: Tokens
    response: Tokens
    priority: int = 0
    status: str = "unfinished"
    first_scheduled_ns: int = -1
    last_admitted_ns: int = -1
    first_token_ns: int = -1
    finish_ns: int = -1
    cached_first: int = -1
    cached_last: int = -1
    retractions: int = 0

    generated: int = 0  # tokens that the scheduler knows of
    length: int = 0  # tokens with a slot, those in flight included
    inserted: int = 0  # of them in the tree, locked
    node: Node | None = None
    joined: int = 0  # when it last joined the queue, counted
    joined_clock: int = 0  # and by the clock of prompt tokens
    matched: int = 0  # of its last match by the order
    filled: int = 0  # tokens and hit of its last look-up
    hit: int = 0
    computed_before: int = 0  # of the unfinished prompt, when it was last inserted
    finished: bool = False
    tokens_ns: list[int] = field(default_factory=list)  # when each token was made

    @property
    def longest_gap_ns(self) -> int:
        return max((b - a for a, b in pairwise(self.tokens_ns)), default=0)

    @property
    def n_in(self) -> int:
        return len(self.prompt)

    @property
    def n_out(self) -> int:
        return len(self.response)

    @property
    def tokens(self) -> Tokens:
        return self.prompt + self.response[: self.generated]

    @property
    def left(self) -> int:
        return min(self.n_out - self.generated, CLIP)

    @property
    def may_generate(self) -> int:
        return min(self.n_out, CLIP)


@dataclass(eq=False)
class Part:
    """One request's part of a batch: `whole` if it is due a token."""

    request: Request
    tokens: int
    whole: bool
    prefill: bool
    upto: int
    life: int  # how often it had been retracted


@dataclass(eq=False)
class Batch:
    parts: list[Part]
    unfinished: Request | None
    extended: int  # tokens it counts for in the clock of hrrn
    end_ns: int = 0

    @property
    def requests(self) -> list[Request]:
        return [part.request for part in self.parts]

    @property
    def prefills(self) -> list[Part]:
        return [part for part in self.parts if part.prefill]

    @property
    def decodes(self) -> list[Part]:
        return [part for part in self.parts if not part.prefill]


@dataclass
class Budget:
    """What one prefill batch may still take."""

    chunk: float
    input: int
    total: float
    current: int
    batch: list[Part] = field(default_factory=list)
    preempted: list[Request] = field(default_factory=list)
    states: list[tuple[float, int]] | None = None
