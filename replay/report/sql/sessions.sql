-- How sessions of each length are served: do long conversations stay cached?
--
-- A session counts by the requests it has in the trace; the other columns are
-- about its completed requests. A follow-up is a request after the first turn.
--
-- Needs: sessions
-- Columns:
-- turns VARCHAR -: requests in the session
-- sessions BIGINT sessions: of that length
-- requests BIGINT requests: completed ones in them
-- input_tokens BIGINT tokens: their prompts
-- token_hit_rate DOUBLE share: hit_tokens / input_tokens
-- session_hit_share DOUBLE share: of input: put there by the same session
-- cross_request_hit_share DOUBLE share: of input: put there by others
-- capacity_miss_share DOUBLE share: of input: evicted before it was reused
-- follow_up_token_hit_rate DOUBLE share: hit / input tokens of follow-ups
-- first_ttft_p50_ms DOUBLE ms: median TTFT of first turns
-- follow_up_ttft_p50_ms DOUBLE ms: median TTFT of follow-ups
-- ttft_p90_ms DOUBLE ms: 90th percentile over all turns
-- saving_share DOUBLE share: TTFT saved / TTFT with caching off, over pairs
--
-- Example: session lengths that lose more than a tenth to eviction
-- SELECT turns, capacity_miss_share FROM report.sessions
-- WHERE capacity_miss_share > 0.1
WITH lengths AS (
    SELECT
        session_id,
        -- 1, 2, 3-4, 5-8, 9-16, 17-32, 33+
        least(ceil(log2(count(*))), 6)::INTEGER AS size
    FROM requests
    WHERE session_id IS NOT NULL
    GROUP BY session_id
),

counts AS (
    SELECT size, count(*) AS sessions FROM lengths GROUP BY size
),

served AS (
    SELECT
        lengths.size,
        count(*) AS requests,
        sum(input_tokens) AS input_tokens,
        ratio(sum(hit_tokens), sum(input_tokens)) AS token_hit_rate,
        ratio(sum(session_hit_tokens), sum(input_tokens)) AS session_hit_share,
        ratio(sum(cross_request_hit_tokens), sum(input_tokens))
            AS cross_request_hit_share,
        ratio(sum(capacity_miss_tokens), sum(input_tokens))
            AS capacity_miss_share,
        ratio(
            sum(hit_tokens) FILTER (turn > 0),
            sum(input_tokens) FILTER (turn > 0)
        ) AS follow_up_token_hit_rate,
        ms(quantile_disc(ttft_ns, 0.5) FILTER (turn = 0)) AS first_ttft_p50_ms,
        ms(quantile_disc(ttft_ns, 0.5) FILTER (turn > 0))
            AS follow_up_ttft_p50_ms,
        ms(quantile_disc(ttft_ns, 0.9)) AS ttft_p90_ms,
        ratio(
            sum(no_cache_ttft_ns - ttft_ns)
                FILTER (no_cache_status = 'completed'),
            sum(no_cache_ttft_ns) FILTER (no_cache_status = 'completed')
        ) AS saving_share
    FROM completed
    INNER JOIN lengths USING (session_id)
    GROUP BY lengths.size
)

SELECT
    ['1', '2', '3-4', '5-8', '9-16', '17-32', '33+'][size + 1] AS turns,
    sessions,
    coalesce(requests, 0) AS requests,
    coalesce(input_tokens, 0)::BIGINT AS input_tokens,
    token_hit_rate,
    session_hit_share,
    cross_request_hit_share,
    capacity_miss_share,
    follow_up_token_hit_rate,
    first_ttft_p50_ms,
    follow_up_ttft_p50_ms,
    ttft_p90_ms,
    saving_share
FROM counts
LEFT JOIN served USING (size)
ORDER BY size
