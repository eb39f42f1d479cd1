-- Token hit rate over arrival time and over the turns of sessions.
--
-- Completed requests only. The shares are of input_tokens: hits and misses of
-- a line add up to 1. Windows are equally wide; those without requests are
-- left out.
--
-- Columns:
-- slice VARCHAR -: window (of arrival time) or turn (0-based, in its session)
-- bucket VARCHAR -: from and to of the window as h:mm:ss, or the turn
-- requests BIGINT requests: completed ones
-- input_tokens BIGINT tokens: their prompts
-- hit_tokens BIGINT tokens: of these, reused
-- token_hit_rate DOUBLE share: hit_tokens / input_tokens
-- session_hit_share DOUBLE share: put there by the same session
-- cross_request_hit_share DOUBLE share: put there by others
-- cold_share DOUBLE share: missed: never seen before
-- capacity_miss_share DOUBLE share: missed: evicted since
-- in_flight_share DOUBLE share: missed: being computed by another request
-- granularity_share DOUBLE share: missed: block rounding, last-token rule
-- disabled_share DOUBLE share: missed: seen before, caching was off
--
-- Example: the windows that lost most to eviction
-- SELECT bucket, capacity_miss_share FROM report.hit_rate
-- WHERE slice = 'window' ORDER BY 2 DESC, 1 LIMIT 5
WITH widths AS (
    SELECT unnest([
        1, 2, 5, 10, 20, 50, 100, 200, 500,
        1_000, 2_000, 5_000, 10_000, 15_000, 30_000,
        60_000, 120_000, 180_000, 300_000, 600_000, 900_000, 1_800_000,
        3_600_000, 7_200_000, 10_800_000, 21_600_000, 43_200_000,
        86_400_000, 172_800_000, 432_000_000, 864_000_000
    ]) * 1_000_000 AS width_ns
),

span AS (
    SELECT max(arrival_ns) - min(arrival_ns) AS span_ns FROM completed
),

-- The narrowest width that makes at most about two dozen windows.
chosen AS (
    SELECT coalesce(
        (SELECT min(width_ns) FROM widths WHERE width_ns * 24 > span_ns),
        span_ns // 24 + 1
    ) AS width_ns
    FROM span
),

placed AS (
    SELECT
        'window' AS slice,
        arrival_ns // width_ns AS position,
        width_ns,
        completed.*
    FROM completed, chosen
    UNION ALL BY NAME
    SELECT
        'turn' AS slice,
        least(turn, 10) AS position,
        completed.*
    FROM completed
    WHERE turn IS NOT NULL
),

totals AS (
    SELECT
        slice,
        position,
        any_value(width_ns) AS width_ns,
        count(*) AS requests,
        sum(input_tokens)::BIGINT AS input_tokens,
        sum(hit_tokens)::BIGINT AS hit_tokens,
        sum(session_hit_tokens) AS session_hit_tokens,
        sum(cross_request_hit_tokens) AS cross_request_hit_tokens,
        sum(cold_tokens) AS cold_tokens,
        sum(capacity_miss_tokens) AS capacity_miss_tokens,
        sum(in_flight_tokens) AS in_flight_tokens,
        sum(granularity_tokens) AS granularity_tokens,
        sum(disabled_tokens) AS disabled_tokens
    FROM placed
    GROUP BY slice, position
)

SELECT
    slice,
    CASE
        WHEN slice = 'window'
            THEN clock(position * width_ns, width_ns)
                || '-' || clock((position + 1) * width_ns, width_ns)
        WHEN position < 10 THEN position::VARCHAR
        ELSE '10+'
    END AS bucket,
    requests,
    input_tokens,
    hit_tokens,
    ratio(hit_tokens, input_tokens) AS token_hit_rate,
    ratio(session_hit_tokens, input_tokens) AS session_hit_share,
    ratio(cross_request_hit_tokens, input_tokens) AS cross_request_hit_share,
    ratio(cold_tokens, input_tokens) AS cold_share,
    ratio(capacity_miss_tokens, input_tokens) AS capacity_miss_share,
    ratio(in_flight_tokens, input_tokens) AS in_flight_share,
    ratio(granularity_tokens, input_tokens) AS granularity_share,
    ratio(disabled_tokens, input_tokens) AS disabled_share
FROM totals
ORDER BY slice DESC, position
