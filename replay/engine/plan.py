"""From a scenario, a tree and a trace to the integer tables the kernels work on.

All casting happens here. Tables and their columns: replay/kernels/layout/.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from replay.cache.blocks import BlockPaths, block_paths
from replay.cache.pins import pinned_edges
from replay.cache.store_paths import StorePaths, prefix_lengths, store_paths
from replay.config.engine_section import EngineSection
from replay.config.policies import policy_code
from replay.config.scenario import Scenario
from replay.config.schedulers import order_code, scheduler_code
from replay.kernels import layout
from replay.kernels.cache.radix import INSERT_ROWS
from replay.trace.priorities import priorities

if TYPE_CHECKING:
    from replay.trace.frame import Trace
    from replay.trace.tree import PrefixTree

UNLIMITED_BLOCKS = 2**40
_COMMIT_CODES = {
    "on_schedule": layout.ON_SCHEDULE,
    "incremental": layout.INCREMENTAL,
    "on_completion": layout.ON_COMPLETION,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a replay needs: `table` int64[R, PLAN_FIELDS], `rules` int64[RULES], block paths.

    `edges` [E, EDGE_FIELDS] are those of `paths` as the kernels read them, int32 unless a number is
    too large; `cuts` int32[E, CUT_FIELDS] says more of them where the cache is a session store, and
    has no rows elsewhere. `pinned` bool[E] says which edges are kept for good, None where none are.
    Replays only read all of it, so any number of them may share it.
    """

    table: np.ndarray
    rules: np.ndarray
    paths: BlockPaths
    edges: np.ndarray
    cuts: np.ndarray
    capacity_blocks: int
    pinned: np.ndarray | None = None

    @property
    def requests(self) -> int:
        """Number of requests."""
        return len(self.table)

    def watching(self, request: int) -> Plan:
        """Return the same plan with what the look-up of a request finds noted block by block.

        Of such a replay no steps are kept.
        """
        rules = self.rules.copy()
        rules[layout.WATCH] = request
        rules[layout.KEEP_STEPS] = 0
        return replace(self, rules=rules)

    def without_cache(self) -> Plan:
        """Return the same plan with caching off; of such a replay no steps are kept."""
        rules = self.rules.copy()
        rules[layout.ENABLED] = 0
        rules[layout.KEEP_STEPS] = 0
        return replace(self, rules=rules)


def make_plan(
    trace: Trace,
    tree: PrefixTree,
    scenario: Scenario,
    *,
    block_size: int,
    capacity_blocks: int | None,
) -> Plan:
    """Return the plan of a replay; `capacity_blocks` None is an unlimited cache.

    Raises InputError for priorities that are needed and are none.
    """
    cache = scenario.cache
    frame = trace.frame
    output_tokens = frame["output_tokens"].to_numpy().astype(np.int64)
    responses = cache.responses and not cache.partial_blocks
    paths = block_paths(
        tree,
        output_tokens,
        block_size=block_size,
        partial_blocks=cache.partial_blocks,
        responses=responses,
    )
    store = None
    if cache.kind == "session_store":
        store = _cut_where_stored(paths, scenario)
        paths = store.paths
    table = np.empty((tree.requests, layout.PLAN_FIELDS), np.int64)
    table[:, layout.ARRIVAL_NS] = frame["arrival_ns"].to_numpy()
    table[:, layout.INPUT_TOKENS] = tree.input_tokens
    table[:, layout.OUTPUT_TOKENS] = output_tokens
    table[:, layout.SESSION] = _sessions(trace)
    table[:, layout.PATH_START] = paths.start
    table[:, layout.PATH_PROMPT_STOP] = paths.prompt_stop
    table[:, layout.PATH_STOP] = paths.stop
    table[:, layout.PROMPT_BLOCKS] = paths.prompt_blocks
    table[:, layout.MATCH_BLOCKS] = paths.match_blocks
    table[:, layout.PATH_BLOCKS] = paths.path_blocks
    table[:, layout.SKIPS] = ~tree.looks_up
    table[:, layout.SHARES] = _share_responses(paths) if _tells_early(scenario) else 0
    table[:, layout.PRIORITY_OF] = 0
    if "priority" in (cache.policy, scenario.engine.order):
        table[:, layout.PRIORITY_OF] = priorities(frame, trace.meta.path)
    edges = _edges(paths)
    if store is None:
        paths = _slim(paths, table, edges)
    capacity = UNLIMITED_BLOCKS if capacity_blocks is None else capacity_blocks
    pinned = None
    if cache.pinned_prefixes:
        pinned = pinned_edges(tree, paths, cache.pinned_prefixes)
    longest_path = int((paths.stop - paths.start).max(initial=0))
    rules = _rules(scenario, block_size, tree.requests, longest_path, responses=responses)
    _add_scheduler(rules, scenario.engine, capacity_blocks)
    return Plan(table, rules, paths, edges, _cuts(store), capacity, pinned)


def _edges(paths: BlockPaths) -> np.ndarray:
    """Return [E, EDGE_FIELDS], in 32 bits where the longest prompt and its response allow it."""
    fits = int(paths.stop_tokens.max(initial=0)) < 2**31 and len(paths.first) < 2**31
    edges = np.empty((len(paths.first), layout.EDGE_FIELDS), np.int32 if fits else np.int64)
    edges[:, layout.FIRST] = paths.first
    edges[:, layout.BLOCKS] = paths.blocks
    edges[:, layout.STOP_TOKENS] = paths.stop_tokens
    return edges


def _slim(paths: BlockPaths, table: np.ndarray, edges: np.ndarray) -> BlockPaths:
    """Return the same paths in less memory: what the plan's tables hold is seen there."""
    return replace(
        paths,
        first=edges[:, layout.FIRST],
        blocks=edges[:, layout.BLOCKS],
        stop_tokens=edges[:, layout.STOP_TOKENS],
        tree_edge=paths.tree_edge.astype(edges.dtype),
        start=table[:, layout.PATH_START],
        prompt_stop=table[:, layout.PATH_PROMPT_STOP],
        stop=table[:, layout.PATH_STOP],
        prompt_blocks=table[:, layout.PROMPT_BLOCKS],
        match_blocks=table[:, layout.MATCH_BLOCKS],
        path_blocks=table[:, layout.PATH_BLOCKS],
    )


def _cut_where_stored(paths: BlockPaths, scenario: Scenario) -> StorePaths:
    wanted = scenario.cache.session_store
    lengths = prefix_lengths(
        wanted.prefix_lengths,
        wanted.prefix_length_step,
        shortest=wanted.min_prefix_cache_length,
        longest=int(paths.stop_tokens.max(initial=0)),
    )
    return store_paths(paths, lengths)


def _cuts(store: StorePaths | None) -> np.ndarray:
    """Return int32[E, CUT_FIELDS], no rows where nothing is cut."""
    cuts = np.empty((0 if store is None else len(store.parent), layout.CUT_FIELDS), np.int32)
    if store is not None:
        cuts[:, layout.PARENT] = store.parent
        cuts[:, layout.STORABLE] = store.storable
    return cuts


def _sessions(trace: Trace) -> np.ndarray:
    """Return sessions counted from 0 in order of id, int64[R]; NONE for a request without one."""
    if "session_id" not in trace.frame.columns:
        return np.full(len(trace.frame), layout.NONE, np.int64)
    ranks = trace.frame["session_id"].rank("dense").cast(pl.Int64) - 1
    return ranks.fill_null(layout.NONE).to_numpy().astype(np.int64)


def _tells_early(scenario: Scenario) -> bool:
    """Return whether what a request generates can be found while it still runs."""
    cache = scenario.cache
    timed = scenario.engine.mode == "timed"
    return timed and cache.kind == "block" and cache.caching and cache.commit != "on_completion"


def _share_responses(paths: BlockPaths) -> np.ndarray:
    """Return bool[R]: whose responses others have tokens of, as prompt or as response.

    They would have the first of its blocks, which lies on the first edge behind the prompt.
    """
    uses = np.bincount(paths.path_edges, minlength=len(paths.first))
    responds = paths.prompt_stop < paths.stop
    shares = np.zeros(len(responds), np.bool_)
    shares[responds] = uses[paths.path_edges[paths.prompt_stop[responds]]] > 1
    return shares


def _rules(
    scenario: Scenario, block_size: int, requests: int, longest_path: int, *, responses: bool
) -> np.ndarray:
    cache, engine = scenario.cache, scenario.engine
    rules = np.zeros(layout.RULES, np.int64)
    rules[layout.BLOCK_SIZE] = block_size
    rules[layout.ENABLED] = cache.caching
    rules[layout.PARTIAL_BLOCKS] = cache.partial_blocks
    rules[layout.COMMIT] = _COMMIT_CODES[cache.commit]
    rules[layout.RESPONSES] = responses
    rules[layout.HOLD_NS] = engine.hold or 0
    rules[layout.TTL_NS] = cache.ttl or 0
    rules[layout.WATCH] = layout.NONE
    rules[layout.PINS] = bool(cache.pinned_prefixes)
    reserve = min(engine.max_sequences, requests) * (longest_path + 2)
    rules[layout.ROW_RESERVE] = 2 * reserve if cache.pinned_prefixes else reserve
    if cache.kind == "session_store":
        store = cache.session_store
        rules[layout.KIND] = layout.SESSION_STORE
        rules[layout.SESSION_CACHE] = store.enable_session_caching
        rules[layout.PREFIX_STORE] = store.enable_cross_request_caching
        rules[layout.MIN_PREFIX_TOKENS] = store.min_prefix_cache_length
        rules[layout.MAX_ENTRIES] = store.max_prefix_cache_size
        rules[layout.ENTRY_ORDER] = policy_code("session_store", store.prefix_eviction_policy)
        rules[layout.WHOLE_PROMPTS] = store.store_whole_prompts
        rules[layout.SESSION_TTL_NS] = store.session_ttl or np.iinfo(np.int64).max
    if cache.kind == "radix":
        rules[layout.KIND] = layout.RADIX
        longest = max(longest_path + 2, 2 * INSERT_ROWS)
        rules[layout.ROW_RESERVE] = min(engine.max_sequences, requests) * longest
        rules[layout.POLICY] = policy_code("radix", cache.policy)
        rules[layout.PROTECTED_HITS] = cache.radix.protected_hits
        rules[layout.CLASSIC_TREE] = cache.radix.tree == "classic"
        rules[layout.COMMIT] = layout.INCREMENTAL
    return rules


def _add_scheduler(rules: np.ndarray, engine: EngineSection, capacity_blocks: int | None) -> None:
    """Put in what decides who runs in a step; vLLM's pool has one block more than can be used."""
    blocks = 0 if capacity_blocks is None else int(engine.watermark * (capacity_blocks + 1))
    rules[layout.SCHEDULER] = scheduler_code(engine.scheduler)
    rules[layout.ASYNC] = engine.async_scheduling
    rules[layout.ORDER] = order_code(engine.order)
    rules[layout.MAX_BATCHED_TOKENS] = engine.max_batched_tokens
    rules[layout.MAX_SEQUENCES] = engine.max_sequences
    rules[layout.MAX_ACTIVE] = engine.max_active_sequences or engine.max_sequences
    rules[layout.CHUNKED_PREFILL] = engine.chunked_prefill
    rules[layout.MIXED_STEPS] = engine.mixes
    rules[layout.LONG_PREFILL] = engine.long_prefill
    rules[layout.LONG_PREFILL_ADAPTIVE] = engine.long_prefill_adaptive
    rules[layout.PREFILL_INTERVAL] = engine.prefill_schedule_interval
    rules[layout.RESERVE_FULL] = engine.reserve_full_prompt
    rules[layout.WATERMARK_BLOCKS] = blocks
    rules[layout.MAX_PREFILL_TOKENS] = engine.max_prefill_tokens
    rules[layout.CONSERVATIVENESS_PPM] = round(engine.schedule_conservativeness * 1e6)
    rules[layout.PREFILL_DECODE_INTERVAL] = engine.prefill_decode_interval
    rules[layout.PREFILL_MAX_REQUESTS] = engine.prefill_max_requests or 0
    rules[layout.PREEMPTION_THRESHOLD] = engine.priority_preemption_threshold
    rules[layout.IGNORE_EOS] = engine.ignore_eos
    rules[layout.KEEP_STEPS] = engine.steps
    rules[layout.HORIZON_NS] = engine.horizon or np.iinfo(np.int64).max
