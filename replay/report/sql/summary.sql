-- The run in one row: hit rates by every definition, miss causes, latencies.
--
-- Tokens, hit rates and latencies are those of completed requests. Hits and
-- misses are null where the content is unknown.
--
-- Columns:
-- requests BIGINT requests: requests of the trace
-- completed BIGINT requests: ran to their last token
-- rejected BIGINT requests: can never fit the KV pool
-- unfinished BIGINT requests: the run stopped first
-- input_tokens BIGINT tokens: prompt lengths
-- output_tokens BIGINT tokens: response lengths
-- hit_tokens BIGINT tokens: prompt tokens whose KV was reused
-- token_hit_rate DOUBLE share: hit_tokens / input_tokens
-- block_hit_rate DOUBLE share: hit blocks / blocks, a partial last one counts
-- full_block_hit_rate DOUBLE share: hit full blocks / full blocks
-- request_hit_rate DOUBLE share: requests with any hit
-- mean_request_token_hit_rate DOUBLE share: mean over requests of hit / input
-- session_hit_tokens BIGINT tokens: hits on what the same session put there
-- cross_request_hit_tokens BIGINT tokens: hits on what others put there
-- cold_tokens BIGINT tokens: missed: never seen before
-- capacity_miss_tokens BIGINT tokens: missed: was resident, evicted since
-- avoidable_miss_tokens BIGINT tokens: of these, the optimum had kept them
-- in_flight_tokens BIGINT tokens: missed: another request was computing them
-- granularity_tokens BIGINT tokens: missed: block rounding, last-token rule
-- policy_miss_tokens BIGINT tokens: missed: computed, never kept for it
-- disabled_tokens BIGINT tokens: missed: seen before, but not looked up
-- prefill_reduction DOUBLE share: (hit - recomputed) / input tokens
-- capacity_blocks BIGINT blocks: KV the cache may hold; null: no limit
-- evicted_blocks BIGINT blocks: cached blocks evicted over the whole run
-- preemptions BIGINT times: requests that lost their KV to another
-- recomputed_tokens BIGINT tokens: computed again after preemptions
-- ttft_mean_ms DOUBLE ms: arrival to first token, queueing included
-- ttft_p50_ms DOUBLE ms: its median
-- ttft_p90_ms DOUBLE ms: its 90th percentile
-- ttft_p99_ms DOUBLE ms: its 99th percentile
-- queue_mean_ms DOUBLE ms: arrival to first scheduled
-- overhead_mean_ms DOUBLE ms: added to TTFT by the server, not the GPU
-- itl_mean_ms DOUBLE ms: between output tokens, mean over all of them
-- e2e_p50_ms DOUBLE ms: arrival to last token, median
-- e2e_p99_ms DOUBLE ms: its 99th percentile
-- output_tokens_per_s DOUBLE tokens/s: from first arrival to last token
-- paired_requests BIGINT requests: completed with caching on and with it off
-- no_cache_ttft_mean_ms DOUBLE ms: TTFT of the paired ones with caching off
-- no_cache_ttft_p50_ms DOUBLE ms: its median
-- no_cache_ttft_p90_ms DOUBLE ms: its 90th percentile
-- no_cache_ttft_p99_ms DOUBLE ms: its 99th percentile
-- ttft_saving_mean_ms DOUBLE ms: TTFT that caching saved, mean over pairs
-- ttft_saving DOUBLE share: TTFT saved / TTFT with caching off, over pairs
-- overloaded BOOLEAN -: requests waited for how many came, not for service
-- no_cache_overloaded BOOLEAN -: the same with caching off
--
-- Example: the definitions of hit rate side by side
-- SELECT COLUMNS('hit_rate') FROM report.summary
WITH counts AS (
    SELECT
        count(*) AS requests,
        count(*) FILTER (status = 'completed') AS completed,
        count(*) FILTER (status = 'rejected') AS rejected,
        count(*) FILTER (status = 'unfinished') AS unfinished
    FROM requests
),

tokens AS (
    SELECT
        coalesce(sum(input_tokens), 0)::BIGINT AS input_tokens,
        coalesce(sum(output_tokens), 0)::BIGINT AS output_tokens,
        if(count(*) = 0, 0, sum(hit_tokens))::BIGINT AS hit_tokens,
        ratio(sum(hit_tokens), sum(input_tokens)) AS token_hit_rate,
        ratio(sum(hit_blocks), sum(input_blocks)) AS block_hit_rate,
        ratio(
            sum(full_hit_blocks),
            sum(input_tokens // (SELECT block_size FROM run))
        ) AS full_block_hit_rate,
        ratio(count(*) FILTER (hit_tokens > 0), count(hit_tokens))
            AS request_hit_rate,
        -- Whole numbers add up to the same sum in any order; doubles do not.
        ratio(
            sum((1e12 * ratio(hit_tokens, input_tokens))::HUGEINT),
            count(*) FILTER (input_tokens > 0)
        ) / 1e12 AS mean_request_token_hit_rate,
        if(count(*) = 0, 0, sum(session_hit_tokens))::BIGINT
            AS session_hit_tokens,
        if(count(*) = 0, 0, sum(cross_request_hit_tokens))::BIGINT
            AS cross_request_hit_tokens,
        if(count(*) = 0, 0, sum(cold_tokens))::BIGINT
            AS cold_tokens,
        if(count(*) = 0, 0, sum(capacity_miss_tokens))::BIGINT
            AS capacity_miss_tokens,
        sum(avoidable_miss_tokens)::BIGINT AS avoidable_miss_tokens,
        if(count(*) = 0, 0, sum(in_flight_tokens))::BIGINT
            AS in_flight_tokens,
        if(count(*) = 0, 0, sum(granularity_tokens))::BIGINT
            AS granularity_tokens,
        if(count(*) = 0, 0, sum(policy_miss_tokens))::BIGINT
            AS policy_miss_tokens,
        if(count(*) = 0, 0, sum(disabled_tokens))::BIGINT
            AS disabled_tokens,
        ratio(
            sum(hit_tokens) - coalesce(sum(recomputed_tokens), 0),
            sum(input_tokens)
        ) AS prefill_reduction
    FROM completed
),

latencies AS (
    SELECT
        sum(preemptions)::BIGINT AS preemptions,
        sum(recomputed_tokens)::BIGINT AS recomputed_tokens,
        ms(ratio(sum(ttft_ns), count(ttft_ns))) AS ttft_mean_ms,
        ms(quantile_disc(ttft_ns, 0.5)) AS ttft_p50_ms,
        ms(quantile_disc(ttft_ns, 0.9)) AS ttft_p90_ms,
        ms(quantile_disc(ttft_ns, 0.99)) AS ttft_p99_ms,
        ms(ratio(sum(queue_ns), count(queue_ns))) AS queue_mean_ms,
        ms(ratio(sum(overhead_ns), count(overhead_ns))) AS overhead_mean_ms,
        ms(ratio(
            sum(itl_mean_ns::HUGEINT * (output_tokens - 1)),
            sum(output_tokens - 1) FILTER (itl_mean_ns IS NOT NULL)
        )) AS itl_mean_ms,
        ms(quantile_disc(e2e_ns, 0.5)) AS e2e_p50_ms,
        ms(quantile_disc(e2e_ns, 0.99)) AS e2e_p99_ms,
        ratio(
            sum(output_tokens) * 1e9,
            max(arrival_ns + e2e_ns) - min(arrival_ns)
        ) AS output_tokens_per_s
    FROM completed
),

pairs AS (
    SELECT
        count(*) AS paired_requests,
        ms(ratio(sum(no_cache_ttft_ns), count(*))) AS no_cache_ttft_mean_ms,
        ms(quantile_disc(no_cache_ttft_ns, 0.5)) AS no_cache_ttft_p50_ms,
        ms(quantile_disc(no_cache_ttft_ns, 0.9)) AS no_cache_ttft_p90_ms,
        ms(quantile_disc(no_cache_ttft_ns, 0.99)) AS no_cache_ttft_p99_ms,
        ms(ratio(sum(ttft_saving_ns), count(*))) AS ttft_saving_mean_ms,
        ratio(sum(ttft_saving_ns), sum(no_cache_ttft_ns)) AS ttft_saving
    FROM paired
)

SELECT
    counts.*,
    tokens.*,
    run.capacity_blocks,
    run.evicted_blocks,
    latencies.*,
    pairs.*,
    coalesce(run.overloaded, false) AS overloaded,
    run.no_cache_overloaded
FROM counts, tokens, latencies, pairs, run
