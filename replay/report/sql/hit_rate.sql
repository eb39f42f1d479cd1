-- Token hit rate over arrival time and over the turns of sessions.
--
-- Completed requests only. The shares are of input_tokens: hits and misses of
-- a line add up to 1. Windows are equally wide; those without requests are
-- left out.
--
-- Needs: content
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
-- policy_miss_share DOUBLE share: missed: computed, but never kept for it
-- disabled_share DOUBLE share: missed: seen before, but not looked up
--
-- Example: the windows that lost most to eviction
-- SELECT bucket, capacity_miss_share FROM report.hit_rate
-- WHERE slice = 'window' ORDER BY 2 DESC, 1 LIMIT 5
WITH chosen AS (
    SELECT round_width_ns(max(arrival_ns) - min(arrival_ns), 24) AS width_ns
    FROM completed
),

placed AS (
    SELECT
        arrival_ns // (SELECT width_ns FROM chosen) AS time_window,
        CASE WHEN turn < 10 THEN turn WHEN turn >= 10 THEN 10 END
            AS turn_bucket,
        input_tokens,
        hit_tokens,
        session_hit_tokens,
        cross_request_hit_tokens,
        cold_tokens,
        capacity_miss_tokens,
        in_flight_tokens,
        granularity_tokens,
        policy_miss_tokens,
        disabled_tokens
    FROM completed
    WHERE hit_tokens IS NOT NULL
)

SELECT
    if(time_window IS NULL, 'turn', 'window') AS slice,
    CASE
        WHEN time_window IS NOT NULL
            THEN clock(time_window * width_ns, width_ns)
                || '-' || clock((time_window + 1) * width_ns, width_ns)
        WHEN turn_bucket < 10 THEN turn_bucket::VARCHAR
        ELSE '10+'
    END AS bucket,
    count(*) AS requests,
    sum(input_tokens)::BIGINT AS input_tokens,
    sum(hit_tokens)::BIGINT AS hit_tokens,
    ratio(sum(hit_tokens), sum(input_tokens)) AS token_hit_rate,
    ratio(sum(session_hit_tokens), sum(input_tokens)) AS session_hit_share,
    ratio(sum(cross_request_hit_tokens), sum(input_tokens))
        AS cross_request_hit_share,
    ratio(sum(cold_tokens), sum(input_tokens)) AS cold_share,
    ratio(sum(capacity_miss_tokens), sum(input_tokens)) AS capacity_miss_share,
    ratio(sum(in_flight_tokens), sum(input_tokens)) AS in_flight_share,
    ratio(sum(granularity_tokens), sum(input_tokens)) AS granularity_share,
    ratio(sum(policy_miss_tokens), sum(input_tokens)) AS policy_miss_share,
    ratio(sum(disabled_tokens), sum(input_tokens)) AS disabled_share
FROM placed, chosen
GROUP BY GROUPING SETS ((time_window, width_ns), (turn_bucket))
HAVING time_window IS NOT NULL OR turn_bucket IS NOT NULL
ORDER BY slice DESC, time_window, turn_bucket
