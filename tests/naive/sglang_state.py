"""What SGLang's scheduler knows, and what becomes of slots, rows and places in the queue."""

from __future__ import annotations

from tests.naive.sglang_requests import RETRACT_TOKENS, Batch, Request, Rules
from tests.naive.token_tree import Tokens, TokenTree


class State:
    def __init__(self, rules: Rules, requests: list[Request]) -> None:
        self.rules = rules
        self.requests = requests
        self.tree = TokenTree(rules.capacity, rules.page)
        self.waiting: list[Request] = []
        self.running: list[Request] = []
        self.unfinished: Request | None = None
        self.full = False
        self.last: Batch | None = None
        self.clock_ns = 0
        self.free_rows = rules.rows
        self.first_ratio = min(1.0, 0.7 * (rules.conservativeness / 100))
        self.least_ratio = self.first_ratio * 0.14
        self.decay = (self.first_ratio - self.least_ratio) / 600
        self.ratio = self.first_ratio
        self.joins = 0
        self.orderings = 0
        self.wait_passes = 0  # passes still to go without a prefill
        self.prompt_clock = 0
        self.grown_from = 0  # prompt tokens of the batch that `running` grew out of
        self.arrivals = iter(requests)
        self.next = next(self.arrivals, None)
        self.steps: list[dict[str, int]] = []
        self.end_ns = 0
        self.step_retracted = 0
        self.stuck = 0

    # --- pages and slots

    def ceil(self, tokens: int) -> int:
        return -(-tokens // self.rules.page) * self.rules.page

    @property
    def remaining(self) -> int:
        return self.tree.available + self.tree.evictable

    def grow(self, request: Request, tokens: int) -> None:
        self.tree.available -= self.ceil(request.length + tokens) - self.ceil(request.length)
        assert self.tree.available >= 0
        request.length += tokens

    def insert(self, request: Request, key: Tokens) -> None:
        """Put what a request has computed into the tree and hold it there."""
        if not self.rules.cached:
            return
        key = key[: self.tree.floor(len(key))]
        node, there = self.tree.insert(key)
        prompt = self.tree.floor(request.n_in)
        if 0 < prompt < len(key):
            self.tree.insert(request.prompt[:prompt])
        self.tree.available += there - request.inserted
        self.tree.lock(node)
        self.tree.unlock(request.node)
        request.node, request.inserted = node, len(key)

    def give_back(self, request: Request) -> None:
        self.tree.available += self.ceil(request.length) - request.inserted
        if request.node is not None:
            self.tree.unlock(request.node)
        request.length, request.inserted, request.node = 0, 0, None
        self.free_rows += 1

    def join(self, request: Request) -> None:
        self.joins += 1
        request.joined, request.joined_clock = self.joins, self.prompt_clock
        self.waiting.append(request)

    def retract(self, request: Request, others: int) -> None:
        request.retractions += 1
        self.step_retracted += 1
        self.give_back(request)
        request.hit = 0
        self.tree.evict_until(RETRACT_TOKENS * others)
