-- Prefix caching by event: whose KV was reused, and what that saved.
--
-- Completed requests only. An event is what the look-up of a prompt came to,
-- see prefix_cache_event in the table requests. Hits and misses have other
-- prompts (follow-ups are longer), so the difference of their TTFT is not what
-- caching saved: that is the paired saving, the same requests once more with
-- caching off.
-- Truncated requests left out history that no longer fits the context window;
-- what is left starts anew, so it is prefilled again.
--
-- Needs: content
-- Columns:
-- requests BIGINT requests: completed
-- sessions BIGINT sessions: they belong to
-- follow_ups BIGINT requests: after the first turn of a session
-- overall_hit_rate DOUBLE share: requests with any hit
-- conversational_hit_rate DOUBLE share: requests that hit mostly their session
-- conversational_follow_up_hit_rate DOUBLE share: the same, of follow_ups
-- cross_request_hit_rate DOUBLE share: requests that hit mostly others
-- conversational_hits BIGINT requests: event CONVERSATIONAL_HIT
-- cross_request_hits BIGINT requests: event CROSS_REQUEST_HIT
-- full_hits BIGINT requests: event FULL_HIT_NO_PREFILL_NEEDED
-- misses BIGINT requests: event MISS_FULL
-- unexpected_prompts BIGINT requests: CONVERSATIONAL_MISS_UNEXPECTED_PROMPT
-- average_cached_prefix_length DOUBLE tokens: reused, mean over hits
-- average_tokens_prefilled DOUBLE tokens: computed, mean over requests
-- total_tokens_saved BIGINT tokens: reused - computed again after preemption
-- prefill_reduction_ratio DOUBLE share: total_tokens_saved / input tokens
-- hit_ttft_mean_ms DOUBLE ms: TTFT of requests with a hit, mean
-- hit_ttft_p50_ms DOUBLE ms: its median
-- miss_ttft_mean_ms DOUBLE ms: TTFT of requests without one, mean
-- miss_ttft_p50_ms DOUBLE ms: its median
-- paired_hits BIGINT requests: hits that completed with caching off too
-- paired_hit_no_cache_ttft_mean_ms DOUBLE ms: TTFT of those with caching off
-- paired_hit_saving_mean_ms DOUBLE ms: TTFT caching saved them, mean
-- paired_hit_saving DOUBLE share: TTFT saved / TTFT with caching off
-- truncated_requests BIGINT requests: that left history out; null if unknown
-- forgotten_tokens BIGINT tokens: history they left out
-- truncated_token_hit_rate DOUBLE share: hit / input tokens of those
-- whole_token_hit_rate DOUBLE share: hit / input tokens of the others
--
-- Example: what each event is worth
-- SELECT prefix_cache_event, count(*) AS requests, avg(hit_tokens) AS reused
-- FROM completed GROUP BY ALL ORDER BY 2 DESC, 1
WITH events AS (
    SELECT
        *,
        hit_tokens > 0 AS is_hit,
        hit_tokens > 0 AND 2 * session_hit_tokens >= hit_tokens AS is_own
    FROM completed
),

counts AS (
    SELECT
        count(*) AS requests,
        count(DISTINCT session_id) AS sessions,
        count(*) FILTER (turn > 0) AS follow_ups,
        ratio(count(*) FILTER (is_hit), count(is_hit)) AS overall_hit_rate,
        ratio(count(*) FILTER (is_own), count(is_own))
            AS conversational_hit_rate,
        ratio(
            count(*) FILTER (is_own AND turn > 0),
            count(is_own) FILTER (turn > 0)
        ) AS conversational_follow_up_hit_rate,
        ratio(count(*) FILTER (is_hit AND NOT is_own), count(is_hit))
            AS cross_request_hit_rate,
        count(*) FILTER (prefix_cache_event = 'CONVERSATIONAL_HIT')
            AS conversational_hits,
        count(*) FILTER (prefix_cache_event = 'CROSS_REQUEST_HIT')
            AS cross_request_hits,
        count(*) FILTER (prefix_cache_event = 'FULL_HIT_NO_PREFILL_NEEDED')
            AS full_hits,
        count(*) FILTER (prefix_cache_event = 'MISS_FULL') AS misses,
        count(*) FILTER (
            prefix_cache_event = 'CONVERSATIONAL_MISS_UNEXPECTED_PROMPT'
        ) AS unexpected_prompts,
        ratio(sum(hit_tokens), count(*) FILTER (is_hit))
            AS average_cached_prefix_length,
        ratio(sum(input_tokens - hit_tokens + recomputed_tokens), count(*))
            AS average_tokens_prefilled,
        if(count(*) = 0, 0, sum(hit_tokens - recomputed_tokens))::BIGINT
            AS total_tokens_saved,
        ratio(sum(hit_tokens - recomputed_tokens), sum(input_tokens))
            AS prefill_reduction_ratio
    FROM events
),

latencies AS (
    SELECT
        ms(ratio(
            sum(ttft_ns) FILTER (is_hit),
            count(ttft_ns) FILTER (is_hit)
        )) AS hit_ttft_mean_ms,
        ms(quantile_disc(ttft_ns, 0.5) FILTER (is_hit)) AS hit_ttft_p50_ms,
        ms(ratio(
            sum(ttft_ns) FILTER (NOT is_hit),
            count(ttft_ns) FILTER (NOT is_hit)
        )) AS miss_ttft_mean_ms,
        ms(quantile_disc(ttft_ns, 0.5) FILTER (NOT is_hit))
            AS miss_ttft_p50_ms
    FROM events
),

pairs AS (
    SELECT
        count(*) AS paired_hits,
        ms(ratio(sum(no_cache_ttft_ns), count(*)))
            AS paired_hit_no_cache_ttft_mean_ms,
        ms(ratio(sum(ttft_saving_ns), count(*))) AS paired_hit_saving_mean_ms,
        ratio(sum(ttft_saving_ns), sum(no_cache_ttft_ns)) AS paired_hit_saving
    FROM paired
    WHERE hit_tokens > 0
),

truncated AS (
    SELECT
        CASE WHEN count(forgotten_tokens) > 0
            THEN count(*) FILTER (forgotten_tokens > 0)
        END AS truncated_requests,
        sum(forgotten_tokens)::BIGINT AS forgotten_tokens,
        ratio(
            sum(hit_tokens) FILTER (forgotten_tokens > 0),
            sum(input_tokens) FILTER (forgotten_tokens > 0)
        ) AS truncated_token_hit_rate,
        ratio(
            sum(hit_tokens) FILTER (forgotten_tokens = 0),
            sum(input_tokens) FILTER (forgotten_tokens = 0)
        ) AS whole_token_hit_rate
    FROM events
)

SELECT counts.*, latencies.*, pairs.*, truncated.*
FROM counts, latencies, pairs, truncated
WHERE (SELECT count(hit_tokens) = count(*) FROM requests)
