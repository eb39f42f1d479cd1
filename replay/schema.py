"""Every table and column, defined once: name, type, unit, meaning.

Readers, kernels, Parquet files, SQL views, documentation and tests all take them from here.
Types are Polars names; times are integer nanoseconds, sizes integer tokens, blocks or bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

RUN_SCHEMA_VERSION = 5
TRACE_SCHEMA_VERSION = 2


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `dtype` is a Polars type name, `required` false where a source may lack it.

    Runs have it `since` that version of their schema; in older ones it reads as null.
    """

    name: str
    dtype: str
    unit: str
    meaning: str
    required: bool = True
    since: int = 1


TRACE = (
    Column("request_id", "Int64", "", "0..n-1 in replay order"),
    Column("arrival_ns", "Int64", "ns", "arrival since the start of the trace; ties keep file order"),
    Column("session_id", "Int64", "", "conversation, where known or inferred", required=False),
    Column("turn", "Int32", "", "0-based position within the session", required=False),
    Column("parent_request_id", "Int64", "", "the request this one continues or branches from", required=False),
    Column("input_tokens", "Int32", "tokens", "prompt length"),
    Column("output_tokens", "Int32", "tokens", "response length"),
    Column("block_ids", "List(UInt64)", "", "prefix-chained content ids of the prompt, the last one possibly partial", required=False),
    Column("response_block_ids", "List(UInt64)", "", "ids of the full blocks that the response completes, the first one begun by the prompt; null or empty where they are unknown", required=False),
    Column("segments", "List(UInt64)", "", "content of the prompt as segments: token i of a segment is the same wherever it stands", required=False),
    Column("segment_tokens", "List(Int32)", "tokens", "how much of each segment the prompt holds, from the segment's start", required=False),
    Column("response_segment", "UInt64", "", "the segment that is the response; null where it is unknown", required=False),
    Column("tokens", "List(UInt32)", "", "token ids of the prompt", required=False),
    Column("response_tokens", "List(UInt32)", "", "token ids of the response", required=False),
    Column("kind", "String", "", "what the request is to its session: start, continue, branch, regenerate, retry or the source's own word", required=False),
    Column("forgotten_tokens", "Int32", "tokens", "history left out of the prompt because the context window is full", required=False),
    Column("model", "String", "", "the model that was asked: KV of different weights is never shared", required=False),
    Column("adapter", "String", "", "the LoRA adapter; null without one", required=False),
    Column("cache_salt", "String", "", "what keeps its KV apart from that of other salts; null without one", required=False),
    Column("tenant", "String", "", "on whose behalf; tenants share KV unless trace.separate_by names them", required=False),
    Column("skips_lookup", "Boolean", "", "it asks for no reuse, as prompt log-probabilities do: it hits nothing, and leaves what it computes", required=False),
)  # fmt: skip
# Columns of a trace that are columns of a run too, where the trace has them.
CARRIED = ("kind", "model", "adapter", "cache_salt", "tenant", "skips_lookup")

REQUESTS = (
    Column("request_id", "Int64", "", "0..n-1 in replay order"),
    Column("session_id", "Int64", "", "conversation, where known or inferred"),
    Column("turn", "Int32", "", "0-based position within the session"),
    Column("parent_request_id", "Int64", "", "the request this one continues or branches from"),
    Column("arrival_ns", "Int64", "ns", "arrival since the start of the trace"),
    Column("input_tokens", "Int64", "tokens", "prompt length"),
    Column("output_tokens", "Int64", "tokens", "response length"),
    Column("status", "String", "", "completed, rejected (could not run even alone, or its engine takes no such request: the run's notes say why) or unfinished (the run stopped first)"),
    Column("hit_tokens", "Int64", "tokens", "prompt tokens whose KV was reused"),
    Column("session_hit_tokens", "Int64", "tokens", "of these, put there by an earlier request of the same session"),
    Column("cross_request_hit_tokens", "Int64", "tokens", "of these, put there by a request outside the session"),
    Column("global_prefix_hit_tokens", "Int64", "tokens", "of hit_tokens, on what more than half of all requests start with, whoever put it there", required=False, since=4),
    Column("cold_tokens", "Int64", "tokens", "missed: never seen before"),
    Column("capacity_miss_tokens", "Int64", "tokens", "missed: was resident, evicted since (or could never fit)"),
    Column("avoidable_miss_tokens", "Int64", "tokens", "of capacity_miss_tokens: the optimum would have kept them in the same capacity, so policy is to blame; requests one after another", required=False, since=3),
    Column("in_flight_tokens", "Int64", "tokens", "missed: being computed or generated by an earlier request at that moment"),
    Column("granularity_tokens", "Int64", "tokens", "missed: lost to block rounding or to the rule that one token is always computed"),
    Column("policy_miss_tokens", "Int64", "tokens", "missed: computed before, but not for this request to reuse: another session's, or never stored (session_store)", since=2),
    Column("disabled_tokens", "Int64", "tokens", "missed: seen before, but caching was off or the request skips the look-up"),
    Column("prefix_cache_event", "String", "", "what the look-up came to: CONVERSATIONAL_HIT, CROSS_REQUEST_HIT, FULL_HIT_NO_PREFILL_NEEDED, MISS_FULL or CONVERSATIONAL_MISS_UNEXPECTED_PROMPT; null unless completed", required=False, since=2),
    Column("forgotten_tokens", "Int64", "tokens", "history left out of the prompt because the context window is full; null where unknown", required=False, since=2),
    Column("input_blocks", "Int64", "blocks", "blocks of the prompt, a partial last one included"),
    Column("hit_blocks", "Int64", "blocks", "prompt blocks found resident"),
    Column("full_hit_blocks", "Int64", "blocks", "of these, full ones"),
    Column("optimum_hit_tokens", "Int64", "tokens", "what the optimum (policy min) hits of it in the same capacity, requests one after another", required=False, since=3),
    Column("sufficient_capacity_blocks", "Int64", "blocks", "smallest LRU cache that hits all that any could of it, requests one after another; 0 where none can", required=False, since=3),
    Column("evicted_blocks", "Int64", "blocks", "cached blocks that were evicted to make room for this prompt"),
    Column("evicted_by_request_id", "Int64", "", "the request whose KV took the place of the first block this one missed for want of capacity; null where there is none, or it went to several decoding at once, to nobody (ttl) or is unknown", required=False, since=3),
    Column("evicted_ns", "Int64", "ns", "when that block was evicted; null where unknown", required=False, since=3),
    Column("admitted_ns", "Int64", "ns", "when it was admitted, where requests are held in flight untimed; else null", required=False, since=3),
    Column("lookup_attempts", "Int64", "", "look-ups made until it was admitted or rejected; null when timed", required=False, since=3),
    Column("response_status", "String", "", "what became of its response: cached, or skipped where it did not fit; null when timed, without responses or not admitted", required=False, since=3),
    Column("response_evicted_blocks", "Int64", "blocks", "cached blocks that were evicted to make room for its response; null when timed", required=False, since=3),
    Column("contained_request_id", "Int64", "", "the turn before: the request whose response this prompt contains, by content where responses are known, else by the links of the source; null where there is none", required=False, since=4),
    Column("premature_ns", "Int64", "ns", "how long before the end of that turn it arrived, when no client could have sent it; 0 where the turn had ended; null when untimed and without such a turn", required=False, since=4),
    Column("queue_ns", "Int64", "ns", "arrival to first scheduled"),
    Column("overhead_ns", "Int64", "ns", "outside the GPU: receiving, tokenising, answering, as the named engine takes; 0 where none is named", required=False, since=3),
    Column("prefill_ns", "Int64", "ns", "first scheduled to first token: the steps of its prompt"),
    Column("ttft_ns", "Int64", "ns", "arrival to first token: queue, overhead and prefill"),
    Column("itl_mean_ns", "Int64", "ns", "mean time between output tokens; null for a single one"),
    Column("itl_max_ns", "Int64", "ns", "longest time between two output tokens; null for a single one"),
    Column("e2e_ns", "Int64", "ns", "arrival to last token"),
    Column("preemptions", "Int64", "", "times this request lost its KV to another and was recomputed"),
    Column("recomputed_tokens", "Int64", "tokens", "tokens computed again after preemptions"),
    Column("no_cache_status", "String", "", "status of the same request in the paired run with caching off"),
    Column("no_cache_queue_ns", "Int64", "ns", "queue time of the same request with caching off"),
    Column("no_cache_prefill_ns", "Int64", "ns", "prefill time of the same request with caching off"),
    Column("no_cache_ttft_ns", "Int64", "ns", "TTFT of the same request with caching off"),
    Column("no_cache_e2e_ns", "Int64", "ns", "end-to-end latency of the same request with caching off"),
)  # fmt: skip

TIMELINE = (
    Column("start_ns", "Int64", "ns", "start of the interval"),
    Column("width_ns", "Int64", "ns", "length of the interval"),
    Column("steps", "Int64", "", "engine steps that ended in it"),
    Column("busy_ns", "Int64", "ns", "time spent in those steps"),
    Column("prefill_tokens", "Int64", "tokens", "prompt tokens computed in those steps"),
    Column("decode_tokens", "Int64", "tokens", "output tokens decoded in those steps"),
    Column("running_request_ns", "Int64", "request ns", "requests running, integrated over those steps"),
    Column("waiting_request_ns", "Int64", "request ns", "requests waiting, integrated over those steps"),
    Column("waiting_max_requests", "Int64", "requests", "the most that waited during one of those steps", required=False, since=5),
    Column("used_block_ns", "Int64", "block ns", "KV blocks held by running requests, integrated over those steps"),
    Column("cached_block_ns", "Int64", "block ns", "KV blocks cached and idle, integrated over those steps"),
    Column("evicted_blocks", "Int64", "blocks", "cached blocks evicted in those steps or expired before them"),
    Column("preemptions", "Int64", "", "preemptions in those steps"),
)  # fmt: skip

PREFIXES = (
    Column("prefix_id", "Int64", "", "edge of the prefix tree: a run of tokens every request uses whole or not at all"),
    Column("parent_prefix_id", "Int64", "", "the edge before it; null at the root"),
    Column("start_tokens", "Int64", "tokens", "where it starts in the prompts that use it"),
    Column("stop_tokens", "Int64", "tokens", "where it ends"),
    Column("requests", "Int64", "", "requests whose prompt contains it"),
    Column("sessions", "Int64", "", "sessions whose prompts contain it; null without sessions"),
    Column("first_request_id", "Int64", "", "the first request that contains it"),
    Column("last_block_id", "UInt64", "", "the trace's id of its last block; null where content is no block ids"),
    Column("hit_tokens", "Int64", "tokens", "prompt tokens it saved over the run"),
    Column("evicted_blocks", "Int64", "blocks", "times a block of it was evicted"),
)  # fmt: skip

CURVE = (
    Column("policy", "String", "", "lru or min, the optimum, which knows the future"),
    Column("capacity_blocks", "Int64", "blocks", "KV the cache may hold"),
    Column("hit_tokens", "Int64", "tokens", "prompt tokens of all requests it saves, requests one after another"),
)  # fmt: skip

STEPS = (
    Column("start_ns", "Int64", "ns", "when it started to run"),
    Column("duration_ns", "Int64", "ns", "how long it ran; 0 where it was planned, preempted somebody and computed nothing"),
    Column("idle_ns", "Int64", "ns", "between the end of the step before and its start"),
    Column("ahead_ns", "Int64", "ns", "from its planning to its start; 0 unless engine.async_scheduling"),
    Column("kind", "String", "", "prefill, decode, mixed, or none where it computed nothing"),
    Column("prefill_requests", "Int32", "", "requests that computed tokens before their next sample: of prompts, or again after a preemption"),
    Column("prefill_tokens", "Int32", "tokens", "tokens they computed"),
    Column("decode_tokens", "Int32", "tokens", "requests that decoded, one token each"),
    Column("decode_context", "Int64", "tokens", "keys that these attended to in sum, their own included"),
    Column("sampled", "Int32", "tokens", "tokens that came out of it"),
    Column("admitted", "Int32", "", "requests that were admitted to it"),
    Column("running", "Int32", "", "requests running once it was planned"),
    Column("waiting", "Int32", "", "requests waiting then"),
    Column("free_blocks", "Int64", "blocks", "KV blocks then that no running request held, cached or not"),
    Column("evictable_blocks", "Int64", "blocks", "of these, cached ones"),
    Column("preempted", "Int32", "", "requests that lost their place and their KV to it (retracted, in SGLang's words)"),
    Column("evicted_blocks", "Int32", "blocks", "cached blocks that were evicted for it"),
    Column("new_token_ratio_ppb", "Int64", "1e-9", "SGLang's new-token ratio: the share of their remaining tokens that running requests reserve; null for vllm"),
)  # fmt: skip

TABLES = {
    "requests": REQUESTS,
    "timeline": TIMELINE,
    "prefixes": PREFIXES,
    "curve": CURVE,
    "steps": STEPS,
}


def column_names(columns: tuple[Column, ...]) -> list[str]:
    """Return the names in order."""
    return [column.name for column in columns]
