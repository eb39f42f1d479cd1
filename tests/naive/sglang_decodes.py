"""A decode of SGLang's scheduler: everybody gets a slot, or some are retracted."""

from __future__ import annotations

from tests.naive.sglang_requests import RETRACT_TOKENS, Batch, Part, Request
from tests.naive.sglang_state import State


class Decodes(State):
    def leave_out(self) -> bool:
        """Drop for good those whose last token is in flight; return whether there were any."""
        if not self.rules.overlap or self.last is None:
            return False
        due = {part.request for part in self.last.parts if part.whole}
        kept = [one for one in self.running if one not in due or one.generated + 1 < one.n_out]
        left_out = len(kept) < len(self.running)
        self.running = kept
        if left_out:
            self.full = False
        return left_out

    def fit(self, requests: list[Request]) -> bool:
        """Return whether the pages that these need for a token each are there, or made free."""
        page = self.rules.page
        return self.tree.evict_until(page * sum(one.length % page == 0 for one in requests))

    def decode_all(self) -> list[Part]:
        self.tree.evict_until(self.rules.page * len(self.running))
        for one in self.running:
            self.grow(one, 1)
        return [Part(one, 1, True, False, one.length, one.retractions) for one in self.running]

    def mix(self, batch: Batch) -> None:
        self.leave_out()
        if self.running and self.fit(self.running):
            for one in self.running:
                one.filled = len(one.tokens)
            batch.parts = batch.parts + self.decode_all()
            batch.extended += len(self.running)
            self.running = []

    def decode(self) -> Batch | None:
        left_out = self.leave_out()
        if not self.running:
            return None
        if self.fit(self.running):
            self.ratio = max(self.ratio - self.decay, self.least_ratio)
        elif left_out:
            return None
        else:
            self.make_room()
        if not self.running:
            return None
        return Batch(self.decode_all(), None, self.grown_from)

    def make_room(self) -> None:
        """Retract running requests until the pages of those left fit."""
        self.running.sort(key=lambda one: (one.generated, -one.n_in), reverse=True)
        while len(self.running) > 1:
            one = self.running.pop()
            self.retract(one, len(self.running))
            self.join(one)
            if self.fit(self.running):
                break
        if not self.fit(self.running):
            one = self.running.pop()
            self.give_back(one)
            self.refuse(one)
        generated = sum(one.generated for one in self.running)
        most = sum(one.n_out for one in self.running) + 1
        self.ratio = min(1.0, (generated + RETRACT_TOKENS * len(self.running)) / most)
        self.full = False
