"""The metrics a run is exported as: vLLM's names, types and buckets, and what each is made from.

Names, help and buckets are those of vLLM 0.33 (`vllm/v1/metrics/loggers.py`), so that dashboards
made for it show a run. What a run adds to them is called `replay:`. What vLLM has and a run does
not know is left out: the time between single tokens, the tokens of single steps, and how long
blocks of the cache lived.

Each observation happens at a time of its own, as in the engine: a prompt's look-up when it is
scheduled, TTFT at its first token, the rest when it ends. In a run without time all happens at the
request's arrival.
"""

from __future__ import annotations

from dataclasses import dataclass

NS_PER_S = 10**9

TTFT_S = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
)  # fmt: skip
TOKEN_S = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0,
    40.0, 80.0,
)  # fmt: skip
REQUEST_S = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0,
    480.0, 960.0, 1920.0, 7680.0,
)  # fmt: skip
# 1, 2, 5, 10 and so on: vLLM's end at the longest context of the model.
TOKENS = tuple(float(digit * 10**power) for power in range(7) for digit in (1, 2, 5))

SCHEDULED = "arrival_ns + coalesce(queue_ns, 0)"
FIRST_TOKEN = "arrival_ns + coalesce(ttft_ns, 0)"
ENDED = "arrival_ns + coalesce(e2e_ns, 0)"


@dataclass(frozen=True, slots=True)
class Histogram:
    """Values of completed requests: `value` is SQL, in ns where `scale` is; null is not counted.

    `when` is SQL for the time of an observation in ns, `buckets` are upper bounds in units.
    """

    name: str
    help: str
    when: str
    value: str
    buckets: tuple[float, ...]
    scale: int = 1
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Counter:
    """A sum over the rows of a table or subquery `of`, each at its time `when`, SQL for ns.

    `values` are its series: labels of each, and SQL for what a row adds.
    """

    name: str
    help: str
    when: str
    values: tuple[tuple[str, str], ...]
    of: str = "completed"


@dataclass(frozen=True, slots=True)
class Gauge:
    """A mean over the steps of an interval: `integral` is the column with value times ns.

    It is a share of the cache where `of_capacity`. `idle` is what it is while no step runs; None
    where that is unknown.
    """

    name: str
    help: str
    integral: str
    of_capacity: bool = False
    idle: int | None = 0


def _seconds(
    name: str, help: str, when: str, value: str, buckets: tuple[float, ...] = REQUEST_S
) -> Histogram:
    return Histogram(f"{name}_seconds", help, when, value, buckets, NS_PER_S, "seconds")


def _one(value: str) -> tuple[tuple[str, str], ...]:
    return (("", value),)


HISTOGRAMS = (
    _seconds(
        "vllm:time_to_first_token", "Time to first token.", FIRST_TOKEN, "ttft_ns", TTFT_S
    ),
    _seconds(
        "vllm:request_time_per_output_token", "Mean time per output token of a request.", ENDED,
        "itl_mean_ns", TOKEN_S,
    ),
    _seconds("vllm:e2e_request_latency", "End-to-end latency of requests.", ENDED, "e2e_ns"),
    _seconds("vllm:request_queue_time", "Time waiting to be scheduled.", ENDED, "queue_ns"),
    _seconds(
        "vllm:request_inference_time", "Time running, from scheduled to the last token.", ENDED,
        "e2e_ns - overhead_ns - queue_ns",
    ),
    _seconds(
        "vllm:request_prefill_time", "Time from scheduled to the first token.", ENDED,
        "prefill_ns",
    ),
    _seconds(
        "vllm:request_decode_time", "Time from the first token to the last.", ENDED,
        "e2e_ns - ttft_ns",
    ),
    _seconds(
        "replay:no_cache_time_to_first_token",
        "Time to first token of the same requests in the paired run with caching off.",
        "arrival_ns + no_cache_ttft_ns",
        "CASE WHEN no_cache_status = 'completed' THEN no_cache_ttft_ns END", TTFT_S,
    ),
    Histogram(
        "vllm:request_prompt_tokens", "Prompt tokens of requests.", ENDED, "input_tokens", TOKENS
    ),
    Histogram(
        "vllm:request_generation_tokens", "Output tokens of requests.", ENDED, "output_tokens",
        TOKENS,
    ),
)  # fmt: skip

CAUSES = ("cold", "capacity_miss", "in_flight", "granularity", "policy_miss", "disabled")

# Each when it was made, where there is a clock: the first by the last step of its prompt.
_GENERATED = """(
    SELECT start_ns + width_ns AS at_ns, decode_tokens AS tokens FROM timeline
    UNION ALL SELECT arrival_ns + ttft_ns, 1 FROM requests WHERE ttft_ns IS NOT NULL
    UNION ALL SELECT arrival_ns, output_tokens FROM completed WHERE ttft_ns IS NULL
)"""

COUNTERS = (
    Counter(
        "vllm:prefix_cache_queries", "Prefix cache queries, in tokens.", SCHEDULED,
        _one("if(hit_tokens IS NULL, 0, input_tokens)"),
    ),
    Counter(
        "vllm:prefix_cache_hits", "Prefix cache hits, in tokens.", SCHEDULED, _one("hit_tokens")
    ),
    Counter("vllm:prompt_tokens", "Prompt tokens.", FIRST_TOKEN, _one("input_tokens")),
    Counter("vllm:prompt_tokens_cached", "Of these, reused.", FIRST_TOKEN, _one("hit_tokens")),
    Counter(
        "vllm:prompt_tokens_by_source", "Prompt tokens by where their KV came from.", FIRST_TOKEN,
        (('source="local_compute"', "input_tokens - hit_tokens"),
         ('source="local_cache_hit"', "hit_tokens")),
    ),
    Counter(
        "replay:prompt_tokens_reused", "Prompt tokens reused, by who put them there.", SCHEDULED,
        (('from="same_session"', "session_hit_tokens"),
         ('from="other_requests"', "cross_request_hit_tokens")),
    ),
    Counter(
        "replay:prompt_tokens_missed", "Prompt tokens missed, by cause.", SCHEDULED,
        tuple((f'cause="{cause}"', f"{cause}_tokens") for cause in CAUSES),
    ),
    Counter("vllm:request_success", "Requests completed.", ENDED,
            (('finished_reason="replayed"', "1"),)),
    Counter(
        "vllm:generation_tokens", "Output tokens.", "at_ns", _one("tokens"), of=_GENERATED
    ),
    Counter(
        "vllm:num_preemptions", "Preemptions.", "start_ns + width_ns", _one("preemptions"),
        of="timeline",
    ),
    Counter(
        "replay:evicted_blocks", "Cached KV blocks evicted.", "start_ns + width_ns",
        _one("evicted_blocks"), of="timeline",
    ),
)  # fmt: skip

GAUGES = (
    Gauge("vllm:num_requests_running", "Requests running, mean over steps.", "running_request_ns"),
    Gauge("vllm:num_requests_waiting", "Requests waiting, mean over steps.", "waiting_request_ns"),
    Gauge(
        "vllm:kv_cache_usage_perc",
        "Share of the KV blocks that running requests hold, mean over steps; 1 is all.",
        "used_block_ns",
        of_capacity=True,
    ),
    Gauge(
        "replay:kv_cache_idle_perc",
        "Share of the KV blocks that are cached and idle, mean over steps; 1 is all.",
        "cached_block_ns",
        of_capacity=True,
        idle=None,
    ),
)
