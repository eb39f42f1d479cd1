"""vLLM's scheduler, one request at a time in every step: the slow twin of `kernels/serving`.

Every running request is visited in every call, as vLLM's own `schedule()` does; nothing here knows
heaps, running sums or steps that need no visit. The rules are those of vLLM 0.33, synchronous and
asynchronous: one batch is scheduled while the one before it runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.naive.pool import Cache, Found, Request, Rules


@dataclass
class Step:
    """What a step was: when, what ran and waited, and what lay in memory while it took."""

    scheduled_ns: int
    start_ns: int = 0
    took_ns: int = 0
    prompts: list[tuple[Request, int, int]] = field(default_factory=list)  # tokens, computed before
    decodes: list[tuple[Request, int]] = field(default_factory=list)  # keys it attends to
    sampling: list[Request] = field(default_factory=list)
    order: list[Request] = field(default_factory=list)
    admitted: int = 0
    preempted: int = 0
    evicted: int = 0
    running: int = 0
    waiting: int = 0
    free: int = 0
    in_use: int = 0
    kept_idle: int = 0
    evicted_since: int = 0  # since the last step, what expired between them too
    preempted_since: int = 0

    @property
    def end_ns(self) -> int:
        return self.start_ns + self.took_ns

    @property
    def prompt_tokens(self) -> int:
        return sum(tokens for _, tokens, _ in self.prompts)

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + len(self.decodes)


class Scheduler:
    """Continuous batching over any kind of cache."""

    def __init__(
        self, requests: list[Request], rules: Rules, step_ns, kind: type[Cache] = Cache
    ) -> None:
        self.rules, self.step_ns = rules, step_ns
        self.cache = kind(rules)
        self.running = self.cache.running
        self.all = requests
        self.arriving = list(requests)
        self.never = list(requests)
        self.turned_away: list[Request] = []
        self.waiting: list[Request] = []
        self.clock = 0
        self.gpu_free_ns = 0
        self.steps: list[Step] = []
        self.in_flight: list[Step] = []
        self.since_prefill = rules.prefill_schedule_interval
        self.left_nobody = True
        self.watermark_blocks = int(rules.watermark * (rules.capacity + 1))
        self.by_priority = rules.order == "priority"

    # --- the loop ---------------------------------------------------------------------------

    def run(self) -> None:
        depth = 2 if self.rules.async_scheduling else 1
        while True:
            if not (self.waiting or self.running or self.in_flight):
                if not self.arriving:
                    break
                self.clock = max(self.clock, self.arriving[0].arrival_ns)
            self.let_in()
            self.cache.at_time(self.clock)
            if self.rules.horizon_ns is not None and self.clock >= self.rules.horizon_ns:
                while self.in_flight:
                    self.land()
                break
            if self.waiting or self.running:
                step = self.schedule()
                if step.tokens:
                    self.in_flight.append(step)
                    if len(self.in_flight) < depth:
                        continue
            if self.in_flight:
                self.land()
        self.steps.append(Step(self.clock, self.clock))
        self.note_losses(self.steps[-1])
        for request in [*self.never, *self.turned_away]:
            self.cache.count(request, Found(), looked_up=False)

    def land(self) -> None:
        step = self.in_flight.pop(0)
        self.clock = step.end_ns
        self.cache.step_ended(self.clock)
        self.update(step)

    def note_losses(self, step: Step) -> None:
        """Note what was evicted and preempted since the last step that took time."""
        preemptions = sum(one.preemptions for one in self.all)
        step.evicted_since = self.cache.evictions - sum(one.evicted_since for one in self.steps)
        step.preempted_since = preemptions - sum(one.preempted_since for one in self.steps)

    def let_in(self) -> None:
        while self.arriving and self.arriving[0].arrival_ns <= self.clock:
            request = self.arriving.pop(0)
            if self.never_fits(request):
                self.reject(request)
            else:
                self.waiting.append(request)
        self.count_turned_away()

    def never_fits(self, request: Request) -> bool:
        tokens = len(request.prompt) + request.output_tokens
        if not self.rules.chunked_prefill and tokens > self.rules.max_batched_tokens:
            return True
        return self.cache.blocks(tokens - 1) > self.rules.capacity

    def reject(self, request: Request) -> None:
        request.status = "rejected"
        if request in self.never:
            self.never.remove(request)
            self.turned_away.append(request)

    def count_turned_away(self) -> None:
        """Count the prompts of those for whom everybody who came before was decided on."""
        for request in list(self.turned_away):
            if all(one.index > request.index for one in self.never):
                self.cache.count(request, Found(), looked_up=False)
                self.turned_away.remove(request)

    # --- one call ---------------------------------------------------------------------------

    def schedule(self) -> Step:
        self.step = Step(self.clock)
        self.budget = self.rules.max_batched_tokens
        evictions = self.cache.evictions
        held = self.is_held()
        self.cap = self.find_cap()
        self.run_again(held)
        if not self.step.preempted:
            self.admit(held)
        if not held:
            self.left_nobody = not self.waiting
        step = self.step
        step.evicted = self.cache.evictions - evictions
        step.running, step.waiting = len(self.running), len(self.waiting)
        step.free, step.in_use = self.cache.free, self.cache.in_use
        step.kept_idle = self.cache.kept_idle
        self.launch(step)
        return step

    def launch(self, step: Step) -> None:
        if step.tokens:
            self.since_prefill = 0 if self.has_prefill(step) else self.since_prefill + 1
            step.took_ns = self.step_ns(
                [(tokens, computed) for _, tokens, computed in step.prompts],
                [keys for _, keys in step.decodes],
                len(step.sampling),
            )
            step.start_ns = max(self.clock, self.gpu_free_ns)
            self.gpu_free_ns = step.end_ns
            self.note_losses(step)
        else:
            step.start_ns = max(self.clock, self.gpu_free_ns)
        if step.tokens or step.preempted:
            self.steps.append(step)

    def has_prefill(self, step: Step) -> bool:
        """Return whether a prompt had more than its last token to compute."""
        return any(request.target - computed > 1 for request, _, computed in step.prompts)

    def is_held(self) -> bool:
        return (
            self.since_prefill + 1 < self.rules.prefill_schedule_interval
            and any(request.decoding for request in self.running)
            and self.left_nobody
        )

    def find_cap(self) -> int:
        unfinished = len(self.running) + len(self.waiting)
        cap = self.rules.long_prefill_token_threshold
        if not cap or unfinished <= 1:
            return 2**62
        if self.rules.long_prefill_adaptive:
            cap = max(cap, self.rules.max_batched_tokens // unfinished)
        return cap

    def need(self, request: Request) -> int:
        return request.target + request.in_flight - request.computed

    def run_again(self, held: bool) -> None:
        at = 0
        while at < len(self.running) and self.budget > 0:
            request = self.running[at]
            last = len(request.prompt) + request.output_tokens
            ends = request.in_flight and request.computed + 2 - request.in_flight >= last
            prompt = not request.decoding
            if ends or (held and prompt):
                at += 1
                continue
            tokens = min(self.need(request), self.cap, self.budget)
            wanted = max(self.cache.blocks(request.computed + tokens) - len(request.table), 0)
            at = self.make_room(request, wanted, at)
            if request in self.running:
                self.take(request, tokens, wanted)
                at += 1
            elif not self.by_priority:
                return

    def make_room(self, request: Request, wanted: int, at: int) -> int:
        """Preempt until `wanted` blocks are free; return where in the list the next one is."""
        while self.cache.free < wanted:
            victim = self.running[-1]
            if self.by_priority:
                victim = max(self.running, key=lambda one: (one.priority, one.arrival_ns))
            place = self.running.index(victim)
            if victim in self.step.order:
                self.take_out(victim)
            self.preempt(victim)
            if place < at:
                at -= 1
            if victim is request:
                return at
        return at

    def take_out(self, victim: Request) -> None:
        step = self.step
        tokens = sum(tokens for one, tokens, _ in step.prompts if one is victim)
        tokens += sum(one is victim for one, _ in step.decodes)
        self.budget += tokens
        victim.computed -= tokens
        step.prompts = [one for one in step.prompts if one[0] is not victim]
        step.decodes = [one for one in step.decodes if one[0] is not victim]
        if victim in step.sampling:
            step.sampling.remove(victim)
            victim.in_flight -= 1
        step.order.remove(victim)

    def preempt(self, victim: Request) -> None:
        self.step.preempted += 1
        victim.preemptions += 1
        victim.lost = victim.computed
        self.cache.release(victim)
        self.running.remove(victim)
        victim.computed = 0
        victim.decoding = False
        if self.by_priority:
            self.waiting.append(victim)
        else:
            self.waiting.insert(0, victim)

    def admit(self, held: bool) -> None:
        most = self.rules.max_active_sequences or self.rules.max_sequences
        while self.budget > 0 and len(self.running) < most:
            self.count_turned_away()
            if not self.waiting:
                return
            request = self.waiting[0]
            if self.by_priority:
                request = min(
                    self.waiting, key=lambda one: (one.priority, one.arrival_ns, one.index)
                )
            again = request.preemptions > 0
            found = self.cache.look_up(request)
            computed = self.cache.saved(request, found.count) if found.count else 0
            last = len(request.prompt) + request.output_tokens - 1
            alone = self.cache.blocks(last) - found.count + found.idle
            if not self.running and alone > self.cache.free:
                self.waiting.remove(request)
                self.reject(request)
                continue
            left = request.target - computed
            if held and left > 1:
                return
            tokens = min(left, self.cap)
            if not self.rules.chunked_prefill and tokens > self.budget:
                return
            tokens = min(tokens, self.budget)
            whole = request.target if self.rules.reserve_full_prompt else computed + tokens
            wanted = self.cache.blocks(whole) - found.count + found.idle
            spare = self.watermark_blocks if self.running else 0
            if wanted + spare > self.cache.free:
                return
            self.start(request, found, computed, tokens, again=again)

    def start(
        self, request: Request, found: Found, computed: int, tokens: int, *, again: bool
    ) -> None:
        self.waiting.remove(request)
        self.cache.hold(request, found)
        if again:
            request.recomputed += max(min(request.lost, request.target) - computed, 0)
        else:
            self.cache.count(request, found)
            self.cache.remember(request)
            self.never.remove(request)
            request.scheduled_ns = self.clock
            request.cached_first = computed
        request.admitted_ns, request.cached_last = self.clock, computed
        request.computed = computed
        self.step.admitted += 1
        self.running.append(request)
        wanted = max(self.cache.blocks(computed + tokens) - len(request.table), 0)
        self.take(request, tokens, wanted)

    def take(self, request: Request, tokens: int, wanted: int) -> None:
        step = self.step
        decode = request.decoding
        before = self.cache.evictions
        self.cache.take(request, wanted, decoding=decode)
        if decode:
            step.decodes.append((request, request.computed + 1))
        else:
            request.evicted += self.cache.evictions - before
            step.prompts.append((request, tokens, request.computed))
        request.computed += tokens
        self.budget -= tokens
        step.order.append(request)
        if self.rules.commit == "on_schedule" and (self.cache.tells_early or not decode):
            self.cache.publish(request, min(request.computed, request.target))
        if request.computed == request.target + request.in_flight:
            request.in_flight += 1
            request.decoding = True
            step.sampling.append(request)

    # --- what comes back --------------------------------------------------------------------

    def update(self, step: Step) -> None:
        computed = {one.index: before + tokens for one, tokens, before in step.prompts}
        if self.cache.tells_early:
            computed |= {one.index: keys for one, keys in step.decodes}
        for request in step.order:
            was_running = request in self.running
            if request in step.sampling:
                self.emit(request)
            commits = self.rules.commit != "on_completion" and request.index in computed
            if was_running and commits:
                self.cache.publish(request, computed[request.index])
            if request.emitted == request.output_tokens and request.status != "completed":
                self.finish(request)

    def emit(self, request: Request) -> None:
        request.in_flight -= 1
        if request.emitted == 0:
            request.first_token_ns = self.clock
        else:
            gap = self.clock - request.last_token_ns
            request.itl_max_ns = max(request.itl_max_ns, gap)
        request.last_token_ns = self.clock
        request.emitted += 1

    def finish(self, request: Request) -> None:
        self.cache.remember_response(request)
        if request in self.running:
            self.cache.publish(request, request.computed)
            self.cache.release(request)
            self.running.remove(request)
        else:
            self.waiting.remove(request)
        request.status, request.done_ns = "completed", self.clock
