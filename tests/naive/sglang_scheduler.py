"""SGLang 0.5.23's scheduler, slow and obvious: lists of requests, one pass after another.

Every decode is visited in every step, every sum is taken anew, the tree holds tokens. What a pass
did is a row of the steps table, what became of a request is the request. Times are integers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from tests.naive.token_tree import Node, Tokens, TokenTree

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


class Scheduler:
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

    # --- the order of the queue

    def match_all(self, waiting: list[Request]) -> set[Request]:
        """Match what waits, in order; return those that are late: they share with one before."""
        late: set[Request] = set()
        starts: set[Tokens] = set()
        for one in waiting:
            one.node, hit = self.tree.match(one.tokens)
            one.matched = min(hit, len(one.tokens) - 1)
            one.hit, one.filled = hit, len(one.tokens)
            if hit <= SHORT and len(one.tokens) >= SHORT:
                start = one.tokens[:SHORT]
                if start in starts:
                    late.add(one)
                starts.add(start)
        return late

    def sort_waiting(self) -> None:
        rules = self.rules
        order = rules.order if rules.cached or rules.order == "lof" else "fcfs"
        if order in ("lpm", "hrrn") and len(self.waiting) > MOST_MATCHED:
            order = "nothing"
        sort: dict[str, Callable[[], None]] = {
            "fcfs": self.sort_fcfs,
            "lof": self.sort_lof,
            "lpm": self.sort_lpm,
            "hrrn": self.sort_hrrn,
            "spf": self.sort_spf,
            "dfs": self.sort_dfs,
            "nothing": lambda: None,
        }
        sort[order]()
        if order in ("fcfs", "nothing", "lof"):
            self.refresh()
        for one in self.waiting:
            one.node = None

    def refresh(self) -> None:
        if not self.waiting:
            return
        if self.orderings % REFRESH_EVERY == 0 and self.rules.cached:
            for one in reversed(self.waiting[:REFRESHED]):
                self.tree.match(one.tokens)
        self.orderings += 1

    def sort_fcfs(self) -> None:
        if self.rules.priorities:
            self.waiting.sort(key=lambda one: (-one.priority, one.joined))

    def sort_lof(self) -> None:
        priorities = self.rules.priorities
        self.waiting.sort(key=lambda one: (-one.priority if priorities else 0, -one.n_out))

    def sort_lpm(self) -> None:
        late = self.match_all(self.waiting)
        self.waiting.sort(key=lambda one: (one in late, 0 if one in late else -one.matched))

    def sort_hrrn(self) -> None:
        late = self.match_all(self.waiting)

        def key(one: Request) -> tuple[float, int]:
            work = one.n_in - one.matched
            if one in late:
                return float("inf"), one.idx
            if work <= 0:
                return -float("inf"), one.idx
            return -(self.prompt_clock - one.joined_clock) / work, one.idx

        self.waiting.sort(key=key)

    def work(self, one: Request) -> int:
        return max(1, len(one.tokens) - one.matched)

    def sort_spf(self) -> None:
        late = self.match_all(self.waiting)
        self.waiting.sort(key=lambda one: (one in late, self.work(one), one.joined))

    def sort_dfs(self) -> None:
        self.match_all(self.waiting)
        weight = Counter(node for one in self.waiting for node in one.node.path)

        def visit(node: Node) -> list[Request]:
            children = [child for child in node.children.values() if weight[child]]
            found = []
            for child in sorted(children, key=lambda child: -weight[child]):
                found += visit(child)
            return found + [one for one in self.waiting if one.node is node]

        self.waiting = visit(self.tree.root)

    # --- a prefill batch

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

    # --- decodes

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


def replay(rules: Rules, requests: list[Request]) -> list[dict[str, int]]:
    """Run the requests, in order of arrival; return the steps."""
    scheduler = Scheduler(rules, requests)
    scheduler.run()
    return scheduler.steps
