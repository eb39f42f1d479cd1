"""SGLang 0.5.23's scheduler, slow and obvious: lists of requests, one pass after another.

Every decode is visited in every step, every sum is taken anew, the tree holds tokens. What a pass
did is a row of the steps table, what became of a request is the request. Times are integers.
"""

from __future__ import annotations

from tests.naive.sglang_admission import Admission
from tests.naive.sglang_decodes import Decodes
from tests.naive.sglang_requests import DECODE, MIXED, NOTHING, PREFILL, Batch, Request, Rules

__all__ = ["Request", "Rules", "Scheduler", "replay"]


class Scheduler(Admission, Decodes):
    # --- the loop

    def run(self) -> None:
        while self.advance():
            pass

    def arrive(self) -> None:
        rules = self.rules
        while self.next is not None and self.next.arrival_ns <= self.clock_ns:
            one = self.next
            most = self.ceil(one.n_in) + rules.page + 1 + one.n_out
            if one.n_in >= rules.capacity - 6 or most > rules.capacity:
                self.refuse(one)
            else:
                self.join(one)
            self.next = next(self.arrivals, None)

    def advance(self) -> bool:
        """One turn of the event loop; False at the end of all."""
        self.arrive()
        batch, before = self.plan(), self.last
        if batch is not None:
            self.launch(batch)
        if self.rules.overlap:
            if before is not None:
                self.process(before)
        elif batch is not None:
            self.process(batch)
        self.last = batch
        if batch is not None or (before is not None and self.rules.overlap):
            self.stuck = 0
            return True
        if self.waiting or self.running or self.unfinished:
            self.unstick()
            return True
        self.ratio = self.first_ratio
        if self.next is None:
            return False
        self.clock_ns = max(self.clock_ns, self.next.arrival_ns)
        return True

    def unstick(self) -> None:
        """Reject one that the real scheduler would wait for in vain."""
        self.stuck += 1
        if self.stuck <= self.rules.interval + 1:
            return
        one, self.unfinished = self.unfinished, None
        if one is not None:
            self.give_back(one)
        elif self.waiting:
            one = self.waiting.pop(0)
        if one is not None:
            self.refuse(one)

    def refuse(self, one: Request) -> None:
        one.status, one.finished = "rejected", True
        one.cached_first, one.cached_last = max(one.cached_first, 0), max(one.cached_last, 0)

    def launch(self, batch: Batch) -> None:
        """Let a batch take its time."""
        rules = self.rules
        context = sum(part.request.length for part in batch.decodes)
        tokens = sum(part.tokens for part in batch.parts)
        duration = rules.step_ns + rules.token_ns * tokens + rules.context_ns * context
        start_ns = max(self.clock_ns, self.end_ns)
        self.note(batch, start_ns, duration, context)
        batch.end_ns = self.end_ns = start_ns + duration
        self.prompt_clock += batch.extended

    def process(self, batch: Batch) -> None:
        """Count the tokens a batch made."""
        self.clock_ns = batch.end_ns
        for part in batch.parts:
            one = part.request
            if one.finished or part.life != one.retractions or not part.whole:
                continue
            one.generated += 1
            one.tokens_ns.append(batch.end_ns)
            if one.generated == 1:
                one.first_token_ns = batch.end_ns
            if one.generated == one.n_out:
                self.insert(one, (one.prompt + one.response)[: one.length])
                self.give_back(one)
                one.finished, one.status, one.finish_ns = True, "ok", batch.end_ns
            elif part.prefill:
                self.insert(one, (one.prompt + one.response)[: part.upto])

    def note(self, batch: Batch | None, start_ns: int, duration: int, context: int) -> None:
        prefills = batch.prefills if batch else []
        decodes = batch.decodes if batch else []
        kind = (MIXED if decodes else PREFILL) if prefills else DECODE if decodes else NOTHING
        self.steps.append(
            {
                "idle_ns": start_ns - self.end_ns,
                "ahead_ns": start_ns - self.clock_ns,
                "duration_ns": duration,
                "kind": kind,
                "prefill_requests": len(prefills),
                "prefill_tokens": sum(part.tokens for part in prefills),
                "decode_tokens": len(decodes),
                "decode_context": context,
                "admitted": self.step_admitted,
                "running": self.rules.rows - self.free_rows,
                "waiting": len(self.waiting),
                "available": self.tree.available,
                "evictable": self.tree.evictable,
                "retracted": self.step_retracted,
                "evicted": self.tree.evicted - self.evicted_before,
                "ratio_e9": round(self.ratio * 1e9),
            }
        )

    # --- one pass

    def plan(self) -> Batch | None:
        self.step_retracted, self.step_admitted = 0, 0
        self.evicted_before = self.tree.evicted
        self.tidy_up()
        batch = None
        if self.wait_passes:
            self.wait_passes -= 1
        else:
            batch = self.prefill()
        if batch is not None:
            self.wait_passes = self.rules.interval
        elif self.running:
            batch = self.decode()
        if batch is None and self.step_retracted:
            self.note(None, max(self.clock_ns, self.end_ns), 0, 0)
        return batch

    def tidy_up(self) -> None:
        one, last = self.unfinished, self.last
        if one is not None and one.length > one.computed_before:
            self.insert(one, one.tokens[: one.length])
            one.computed_before = one.length
        if last is not None and last.prefills:
            out = (self.unfinished, last.unfinished)
            kept = [one for one in last.requests if one not in out and not one.finished]
            if len(kept) < len(last.parts):
                self.full = False
            if kept and not self.running:
                self.running, self.full, self.grown_from = kept, False, last.extended
            else:
                self.running = self.running + kept
        still = [one for one in self.running if not one.finished]
        if len(still) < len(self.running):
            self.full = False
        self.running = still

    def prefill(self) -> Batch | None:
        rules = self.rules
        if rules.priorities or not self.running:
            self.full = False
        if self.unfinished is None:
            if self.full or not self.waiting:
                return None
            most = min(rules.rows - len(self.running), self.free_rows)
            if most <= 0 and not rules.priorities:
                self.full = True
                return None
        self.sort_waiting()
        return self.admit()


def replay(rules: Rules, requests: list[Request]) -> list[dict[str, int]]:
    """Run the requests, in order of arrival; return the steps."""
    scheduler = Scheduler(rules, requests)
    scheduler.run()
    return scheduler.steps
