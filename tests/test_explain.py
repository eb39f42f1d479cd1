"""What a watched request found, against the naive twins, token by token on random traces."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.analysis.stretches import stretches
from replay.config.scenario import Scenario
from replay.engine.plan import make_plan
from replay.engine.watch import watch_request
from replay.kernels import layout
from replay.trace.tree import build_tree
from tests import test_radix_twins
from tests.naive import pool as naive
from tests.naive import radix as naive_radix
from tests.naive.scheduler import Scheduler
from tests.random_traces import BLOCK, mixed, rows, trace_of, unit_rows, unit_trace_of
from tests.test_engine_twins import (
    both,
    cache_rules,
    cost_of,
    engine_rules,
    holds,
    kept_rules,
    naive_step_ns,
    sizes,
)

CAUSES = {
    "hit": (),
    "capacity": ("evicted", "expired", "not kept", "behind a gap"),
    "in_flight": ("in flight",),
    "granularity": ("rounding",),
    "cold": ("never seen",),
}


class Noting:
    """Mixed into a naive cache: the story of every token of a request that is looked up."""

    def __init__(self, rules) -> None:
        super().__init__(rules)
        self.stories: dict[int, list[tuple]] = {}
        self.losses: dict[tuple, tuple] = {}

    def note(self, key: tuple, writer: naive.Request, whose, when_ns: int, now_ns: int) -> None:
        self.losses[key] = (
            "expired" if when_ns < now_ns else "evicted",
            writer.index,
            whose,
            when_ns,
        )

    def count(self, request, found, *, looked_up: bool = True) -> None:
        super().count(request, found, looked_up=looked_up)
        if looked_up and self.rules.enabled and not request.skips:
            self.stories[request.index] = list(self.tell(request, found.count))

    def tell(self, request: naive.Request, hit_blocks: int) -> Iterator[tuple]:
        size = self.rules.block_size
        seen = len(request.prompt) - request.misses["cold"]
        reachable = seen - request.misses["granularity"]
        keys = self.keys(request, len(request.prompt))
        for token in range(len(request.prompt)):
            block = token // size
            if token >= seen:
                yield "never seen", None, None, None
            elif token >= reachable:
                yield "rounding", None, None, None
            elif block < hit_blocks:
                yield "hit", self.holder(request, keys[block], block), None, None
            else:
                yield self.missed(request, keys[block], block)

    def missed(self, request: naive.Request, key: tuple, block: int) -> tuple:
        stop = (block + 1) * self.rules.block_size
        for other in self.running:
            same = other.prompt[:stop] == request.prompt[:stop] and len(other.prompt) >= stop
            if same and stop <= len(request.prompt) and other.keyed <= block:
                return "in flight", other.index, None, None
        shared = request.prompt[:stop]
        if shared not in self.seen and shared in self.authors:
            return "in flight", self.authors[shared], None, None
        holder = self.holder(request, key, block)
        if holder is not None:
            return "behind a gap", holder, None, None
        return self.losses.get(key, ("not kept", None, None, None))


class NotingPool(naive.Pool):
    def evict(self, block, whose, when_ns) -> None:
        self.cache.note(block.key, block.owner, whose, when_ns, self.now_ns)
        super().evict(block, whose, when_ns)


class NotingCache(Noting, naive.Cache):
    def __init__(self, rules) -> None:
        super().__init__(rules)
        self.pool = NotingPool(rules.capacity, rules.pinned, rules.ttl_ns)
        self.pool.cache = self

    def holder(self, request, key, block):
        return self.pool.holders[key][0].owner.index if key in self.pool.holders else None


class NotingRadix(Noting, naive_radix.RadixCache):
    def evict(self, node, whose, when_ns) -> None:
        content = [page for one in reversed(node.path) for page in one.pages]
        for at in range(len(content) - len(node.pages), len(content)):
            key = tuple(token for page in content[: at + 1] for token in page)
            self.note(key, node.owner, whose, when_ns, self.now_ns)
        super().evict(node, whose, when_ns)

    def holder(self, request, key, block):
        path = reversed(self.locked[request.index].path)
        owners = [node.owner.index for node in path for _ in node.pages]
        return owners[block] if block < len(owners) else None


def compare_stories(plan, requests, stories, cost) -> None:
    """Assert that every request that was looked up has the story its twin tells."""
    for request in requests:
        watched = watch_request(plan, request.index, cost)
        assert watched.looked_up == (request.index in stories)
        if not watched.looked_up:
            continue
        parts = stretches(plan, request.index, watched)
        told = [
            (part.result, part.put_by, part.gone_to, part.gone_ns)
            for part in parts
            for _ in range(part.tokens)
        ]
        assert told == stories[request.index], request.index
        for cause, results in CAUSES.items():
            tokens = sum(part.tokens for part in parts if part.result in (results or ("hit",)))
            assert tokens == (request.misses[cause] if results else request.hit)


def drawn_pair(drawn):
    drawn = [{**row, "arrival_ns": row["arrival_ns"] - drawn[0]["arrival_ns"]} for row in drawn]
    if "segments" in drawn[0]:
        return unit_trace_of(drawn), naive.make_unit_requests(drawn)
    return trace_of(drawn), naive.make_requests(drawn, BLOCK)


@settings(max_examples=150)
@given(
    drawn=mixed(st.one_of(rows(), unit_rows())),
    size=sizes,
    capacity=st.integers(1, 40),
    cache=cache_rules.filter(lambda rules: rules["enabled"]),
    kept=kept_rules,
    hold=holds,
)
def test_untimed_pool_tells_what_the_twin_tells(drawn, size, capacity, cache, kept, hold):
    trace, requests = drawn_pair(drawn)
    cache = {name: value for name, value in cache.items() if name != "commit"}
    plan, rules = both(
        trace, requests, size=size, capacity=capacity, cache=cache, kept=kept,
        engine={"mode": "untimed", "hold": f"{hold}ns" if hold else None},
        twin={"hold_ns": hold},
    )  # fmt: skip
    twin = naive.Untimed(rules, NotingCache)
    twin.run(requests)
    compare_stories(plan, requests, twin.cache.stories, None)


@pytest.mark.slow
@settings(max_examples=120)
@given(
    drawn=mixed(st.one_of(rows(), unit_rows())),
    size=sizes,
    capacity=st.integers(1, 40),
    cache=cache_rules.filter(lambda rules: rules["enabled"]),
    kept=kept_rules,
    engine=engine_rules,
    horizon=st.sampled_from([None, None, None, 500]),
)
def test_timed_pool_tells_what_the_twin_tells(drawn, size, capacity, cache, kept, engine, horizon):
    trace, requests = drawn_pair(drawn)
    duration = None if horizon is None else f"{horizon}ns"
    plan, rules = both(
        trace, requests, size=size, capacity=capacity, cache=cache, kept=kept,
        engine={**engine, "horizon": duration}, twin={**engine, "horizon_ns": horizon},
    )  # fmt: skip
    cost = cost_of(engine["max_batched_tokens"], engine["max_sequences"])
    twin = Scheduler(requests, rules, naive_step_ns(cost), NotingCache)
    twin.run()
    compare_stories(plan, requests, twin.cache.stories, cost)


@settings(max_examples=150)
@given(
    drawn=mixed(st.one_of(rows(), unit_rows())),
    size=test_radix_twins.sizes,
    capacity=st.integers(1, 60),
    cache=test_radix_twins.cache_rules.filter(lambda rules: rules["enabled"]),
    kept=kept_rules,
    hold=st.sampled_from([0, 0, 200, 1_000]),
)
def test_untimed_radix_tells_what_the_twin_tells(drawn, size, capacity, cache, kept, hold):
    plan, requests, rules = test_radix_twins.both(
        drawn, size=size, capacity=capacity, cache=cache, kept=kept,
        engine={"mode": "untimed", "hold": f"{hold}ns" if hold else None},
        twin={"hold_ns": hold},
    )  # fmt: skip
    twin = naive_radix.Untimed(rules, NotingRadix)
    twin.run(requests)
    compare_stories(plan, requests, twin.cache.stories, None)


@pytest.mark.slow
@settings(max_examples=120)
@given(
    drawn=mixed(st.one_of(rows(), unit_rows())),
    size=test_radix_twins.sizes,
    capacity=st.integers(1, 60),
    cache=test_radix_twins.cache_rules.filter(lambda rules: rules["enabled"]),
    kept=kept_rules,
    engine=engine_rules,
)
def test_timed_radix_tells_what_the_twin_tells(drawn, size, capacity, cache, kept, engine):
    plan, requests, rules = test_radix_twins.both(
        drawn, size=size, capacity=capacity, cache=cache, kept=kept, engine=engine, twin=engine
    )
    cost = cost_of(engine["max_batched_tokens"], engine["max_sequences"])
    twin = Scheduler(requests, rules, naive_step_ns(cost), NotingRadix)
    twin.run()
    compare_stories(plan, requests, twin.cache.stories, cost)


@given(drawn=mixed(st.one_of(rows(), unit_rows())), size=sizes, partial_blocks=st.booleans())
def test_stretches_follow_the_prompt_down_the_tree(drawn, size, partial_blocks):
    trace, requests = drawn_pair(drawn)
    cache = {"enabled": True, "responses": True, "partial_blocks": partial_blocks}
    plan, _ = both(
        trace, requests, size=size, capacity=12, cache=cache, kept={"ttl": None, "pins": ()},
        engine={"mode": "untimed"}, twin={},
    )  # fmt: skip
    tree = build_tree(trace)
    last = len(requests) - 1
    watched = watch_request(plan, last, None)
    if not watched.looked_up:
        return
    parts = stretches(plan, last, watched)
    path = [*tree.path_edges[tree.path_offsets[last] : tree.prompt_stops[last]]]
    places = [path.index(part.prefix_id) for part in parts]
    assert places == sorted(places)
    ends = [part.stop_tokens for part in parts]
    assert [0, *ends[:-1]] == [part.start_tokens for part in parts]
    assert ends[-1] == plan.table[last, layout.INPUT_TOKENS]
    for part in parts:
        assert tree.edge_start[part.prefix_id] <= part.stop_tokens <= tree.edge_stop[part.prefix_id]


def test_watching_changes_nothing_and_is_off_unless_asked_for():
    trace, requests = drawn_pair(
        [
            {
                "arrival_ns": 10 * i,
                "segments": [i % 3],
                "segment_tokens": [20],
                "response_segment": None,
                "input_tokens": 20,
                "output_tokens": 4,
                "session_id": None,
            }
            for i in range(9)
        ]
    )
    cache = {"enabled": True, "responses": True, "partial_blocks": False}
    plan, _ = both(
        trace, requests, size=4, capacity=8, cache=cache, kept={"ttl": None, "pins": ()},
        engine={"mode": "untimed"}, twin={},
    )  # fmt: skip
    assert plan.rules[layout.WATCH] == layout.NONE
    last = watch_request(plan, 8, None)
    other = watch_request(plan, 2, None)
    assert other.outcome[2].tolist() == last.outcome[2].tolist()
    assert len(last.blocks) == 5


@pytest.mark.parametrize("scheduler", ["vllm", "sglang"])
def test_who_never_was_looked_up_in_a_radix_cache_holds_no_node_to_tell_of(scheduler):
    drawn = [
        {
            "arrival_ns": at_ns, "segments": [segment], "segment_tokens": [tokens],
            "input_tokens": tokens, "output_tokens": 1, "response_segment": None,
            "session_id": None,
        }
        for at_ns, segment, tokens in ((0, 1, 40), (0, 2, 900), (900, 3, 20), (950, 3, 25))
    ]  # fmt: skip
    trace, _ = drawn_pair(drawn)
    scenario = Scenario(
        cache={"kind": "radix"}, engine={"scheduler": scheduler, "horizon": "800ns"}
    )
    plan = make_plan(trace, build_tree(trace), scenario, block_size=1, capacity_blocks=100)
    cost = cost_of(8192, 256)
    for request in (1, 3):  # one that was rejected, one that the clock did not reach
        watched = watch_request(plan, request, cost)
        assert not watched.looked_up
        assert (watched.blocks[:, layout.HOLDER] == layout.NONE).all()
