-- TTFT, and what caching saved of it for the same requests.
--
-- TTFT counts from arrival, queueing included. The saving of a request is its
-- TTFT in the paired run with caching off, less its TTFT here: hits are never
-- compared with misses, which have other prompts.
--
-- Needs: timed
-- Columns:
-- slice VARCHAR -: all, hit share (of the prompt) or turn (0-based)
-- bucket VARCHAR -: which share of the prompt hit, or the turn
-- requests BIGINT requests: completed ones
-- ttft_p50_ms DOUBLE ms: median TTFT
-- ttft_p90_ms DOUBLE ms: its 90th percentile
-- ttft_p99_ms DOUBLE ms: its 99th percentile
-- paired_requests BIGINT requests: completed with caching off too
-- no_cache_ttft_p50_ms DOUBLE ms: their median TTFT with caching off
-- no_cache_ttft_p90_ms DOUBLE ms: its 90th percentile
-- saving_mean_ms DOUBLE ms: TTFT saved, mean over pairs
-- saving_p50_ms DOUBLE ms: TTFT saved, median over pairs
-- saving_share DOUBLE share: TTFT saved / TTFT with caching off, over pairs
--
-- Example: what the first turn of a session gains, and what later ones do
-- SELECT bucket, saving_mean_ms, saving_share FROM report.ttft
-- WHERE slice = 'turn'
WITH timed AS (
    SELECT
        turn,
        -- 0 for no hit at all, else the quarter of the prompt it ends in, 1-4
        (4 * hit_tokens + input_tokens - 1) // nullif(input_tokens, 0)
            AS quarter,
        hit_tokens,
        ttft_ns,
        CASE WHEN no_cache_status = 'completed' THEN no_cache_ttft_ns END
            AS no_cache_ns,
        no_cache_ns - ttft_ns AS saving_ns
    FROM completed
    WHERE ttft_ns IS NOT NULL
),

placed AS (
    SELECT 1 AS slice_order, 'all' AS slice, 0 AS position, * FROM timed
    UNION ALL
    SELECT
        2, 'hit share',
        CASE WHEN hit_tokens = 0 THEN 0 ELSE quarter END, *
    FROM timed
    UNION ALL
    SELECT 3, 'turn', least(turn, 10), * FROM timed WHERE turn IS NOT NULL
)

SELECT
    slice,
    CASE
        WHEN slice = 'all' THEN 'all'
        WHEN slice = 'turn' AND position < 10 THEN position::VARCHAR
        WHEN slice = 'turn' THEN '10+'
        WHEN position = 0 THEN '0%'
        ELSE format('({}-{}%]', 25 * (position - 1), 25 * position)
    END AS bucket,
    count(*) AS requests,
    ms(quantile_disc(ttft_ns, 0.5)) AS ttft_p50_ms,
    ms(quantile_disc(ttft_ns, 0.9)) AS ttft_p90_ms,
    ms(quantile_disc(ttft_ns, 0.99)) AS ttft_p99_ms,
    count(saving_ns) AS paired_requests,
    ms(quantile_disc(no_cache_ns, 0.5)) AS no_cache_ttft_p50_ms,
    ms(quantile_disc(no_cache_ns, 0.9)) AS no_cache_ttft_p90_ms,
    ms(ratio(sum(saving_ns), count(saving_ns))) AS saving_mean_ms,
    ms(quantile_disc(saving_ns, 0.5)) AS saving_p50_ms,
    ratio(sum(saving_ns), sum(no_cache_ns)) AS saving_share
FROM placed
GROUP BY slice_order, slice, position
ORDER BY slice_order, position
