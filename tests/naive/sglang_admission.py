"""A prefill batch of SGLang's scheduler: budgets, the unfinished prompt, the queue, preemption."""

from __future__ import annotations

from tests.naive.sglang_order import Orders
from tests.naive.sglang_requests import Batch, Budget, Part, Request


class Admission(Orders):
    def admit(self) -> Batch | None:
        rules = self.rules
        mixed = len(self.running) if rules.mixes else 0
        chunk = rules.chunk - mixed if rules.chunk else float("inf")
        reserved = 0.0
        for one in self.running:
            reserved += self.reserve(one)
        budget = Budget(chunk, rules.max_prefill - mixed, mixed + reserved, mixed)
        if self.unfinished is not None and not self.go_on(budget):
            return None
        cut = next((part.request for part in budget.batch if not part.whole), None)
        for one in list(self.waiting):
            if self.sign(budget) == "other":
                break
            again = self.unfinished is not None
            most = min(rules.rows - len(self.running), self.free_rows + again)
            if len(budget.batch) >= most:
                self.full = True
            if self.full and not (rules.priorities and self.preempt(one, budget)):
                break
            added, cut = self.try_one(one, budget, cut)
            if not added:
                break
            sign = self.sign(budget)
            if sign == "no token":
                self.full = True
            if sign:
                break
        return self.make_batch(budget, cut)

    def reserve(self, one: Request) -> float:
        return one.left * (1.0 if self.rules.ignore_eos else self.ratio)

    def sign(self, budget: Budget) -> str:
        if self.remaining - budget.total <= 0 or self.remaining - budget.current <= 0:
            return "no token"
        return "other" if budget.input <= 0 or budget.chunk <= 0 else ""

    def charge(self, budget: Budget, tokens: int, may_generate: int) -> None:
        paged = self.ceil(tokens)
        budget.total += paged + self.rules.page + may_generate
        budget.current += paged + self.rules.page
        budget.input -= paged
        budget.chunk -= paged

    def go_on(self, budget: Budget) -> bool:
        """Take the next part of the unfinished prompt; False if it has to wait."""
        one = self.unfinished
        rest = len(one.tokens) - one.length
        most = min(budget.chunk, int(self.remaining - budget.total))
        if most <= 0:
            most = budget.chunk
        room = self.room_for_others(budget, rest)
        if room:
            most = min(most, room)
        tokens = min(rest, most)
        pages = self.ceil(one.length + tokens) - self.ceil(one.length)
        if tokens <= 0 or pages > self.remaining:
            return False  # the real one stops here: out of memory
        whole = tokens == rest
        budget.batch.append(Part(one, tokens, whole, True, one.length + tokens, one.retractions))
        self.charge(budget, tokens, one.may_generate if whole else 0)
        return True

    def room_for_others(self, budget: Budget, rest: int) -> int:
        """Return the most that spf lets the unfinished prompt take; 0 for no such limit."""
        page, kept = self.rules.page, 0
        if self.rules.order != "spf" or budget.chunk < 2 * page:
            return 0
        for one in self.waiting:
            work = self.work(one)
            if work >= rest or kept + self.ceil(work) > budget.chunk - page:
                break
            kept += self.ceil(work)
        return self.tree.floor(budget.chunk - kept) if kept else 0

    def try_one(
        self, one: Request, budget: Budget, cut: Request | None
    ) -> tuple[bool, Request | None]:
        """Admit a request if it may be; return whether it was, and whose prompt is unfinished."""
        rules, tree = self.rules, self.tree
        node, hit = tree.root, 0
        if rules.cached:
            node, hit = tree.match(one.tokens[:-1])
        one.filled, one.hit = len(one.tokens), hit
        if rules.max_requests and len(budget.batch) >= rules.max_requests:
            return False, cut
        need = len(one.tokens) - hit
        tree.lock(node)
        simulates = rules.ignore_eos and not rules.cached
        if simulates:
            fits = self.fits_to_the_end(one, need, budget)
        else:
            fits = need + one.left + rules.page < self.remaining - budget.total
        if not fits:
            tree.unlock(node)
            self.full = bool(budget.batch or self.running)
            return False, cut
        tokens = need
        if simulates:
            tokens = min(need, budget.chunk)
        elif not rules.chunk and budget.batch and self.ceil(need) >= budget.input:
            tokens = 0
        elif rules.chunk and self.ceil(need) > budget.chunk:
            tokens = tree.floor(budget.chunk)
            if rules.order == "spf" and cut is not None:
                tokens = 0
        if tokens <= 0:
            tree.unlock(node)
            return False, cut
        whole = tokens == need
        one.node, one.inserted, one.length = node, hit, hit
        one.computed_before = hit
        budget.batch.append(Part(one, tokens, whole, True, hit + tokens, one.retractions))
        self.charge(budget, tokens, one.may_generate if whole else 0)
        return True, cut if whole else one

    def fits_to_the_end(self, one: Request, need: int, budget: Budget) -> bool:
        """Return whether memory lasts when all run to their end, shortest first."""
        paged = self.ceil(need) + self.rules.page
        available = self.tree.available
        if paged > min(available - budget.current, available - budget.total):
            return False
        mine = (one.n_out - one.generated, len(one.tokens))
        if budget.states is None:
            others = self.running + [part.request for part in budget.batch]
            states = [mine, *((it.n_out - it.generated, len(it.tokens)) for it in others)]
            budget.states = sorted((it for it in states if it[0] > 0), key=lambda it: it[0])
        elif mine[0] > 0:
            states, at = budget.states, 0
            for at in range(len(states)):
                if mine[0] <= states[at][0]:
                    break
            states.insert(at, mine)
        free = available - budget.current - paged
        for at, (left, occupied) in enumerate(budget.states):
            those = len(budget.states) - at
            if free - left * those <= those:
                return False
            free += occupied
        return True

    def preempt(self, one: Request, budget: Budget) -> bool:
        """Give back running requests of lower priority for their rows."""
        wanted = one.filled - one.hit + one.may_generate - (self.remaining - budget.total)
        chosen = []
        for other in sorted(self.running, key=lambda other: (other.priority, -other.joined)):
            if other.finished or one.priority - other.priority <= self.rules.threshold:
                break
            chosen.append(other)
            wanted -= self.reserve(other)
            if wanted <= 0:
                break
        if not chosen or wanted > 0:
            return False
        running = len(self.running)
        for at, other in enumerate(one for one in self.running if one in chosen):
            budget.total -= self.reserve(other)
            self.retract(other, running - at - 1)
        self.running = [other for other in self.running if other not in chosen]
        budget.preempted += chosen
        return True

    def make_batch(self, budget: Budget, cut: Request | None) -> Batch | None:
        parts, page = budget.batch, self.rules.page
        taken = {part.request for part in parts}
        admitted = [one for one in self.waiting if one in taken]
        self.waiting = [one for one in self.waiting if one not in taken]
        for one in budget.preempted:
            self.join(one)
        if not parts:
            return None
        for one in admitted:
            self.free_rows -= 1
            one.last_admitted_ns, one.cached_last = self.clock_ns, one.hit
            if one.first_scheduled_ns < 0:
                one.first_scheduled_ns, one.cached_first = self.clock_ns, one.hit
        self.step_admitted = len(admitted)
        self.unfinished = next((part.request for part in parts if not part.whole), None)
        new = sum(part.tokens for part in parts)
        self.tree.evict_until(new if page == 1 else new + page * len(parts))
        for part in parts:
            self.grow(part.request, part.tokens)
        batch = Batch(parts, self.unfinished, new)
        if self.rules.mixes and self.running:
            self.mix(batch)
        return batch
