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
        CASE WHEN turn < 10 THEN turn WHEN turn >= 10 THEN 10 END
            AS turn_bucket,
        -- 0: no hit; else the quarter of the prompt the hit ends in, 1-4
        CASE
            WHEN hit_tokens = 0 THEN 0
            ELSE (4 * hit_tokens + input_tokens - 1) // input_tokens
        END AS quarter,
        ttft_ns,
        CASE WHEN no_cache_status = 'completed' THEN no_cache_ttft_ns END
            AS no_cache_ns,
        CASE WHEN no_cache_status = 'completed' THEN no_cache_ttft_ns - ttft_ns
            END AS saving_ns
    FROM completed
    WHERE ttft_ns IS NOT NULL
)

SELECT
    CASE grouping(quarter, turn_bucket)
        WHEN 3 THEN 'all'
        WHEN 1 THEN 'hit share'
        ELSE 'turn'
    END AS slice,
    CASE
        WHEN slice = 'all' THEN 'all'
        WHEN quarter = 0 THEN '0%'
        WHEN quarter > 0
            THEN format('({}-{}%]', 25 * (quarter - 1), 25 * quarter)
        WHEN turn_bucket < 10 THEN turn_bucket::VARCHAR
        ELSE '10+'
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
FROM timed
GROUP BY GROUPING SETS ((), (quarter), (turn_bucket))
HAVING count(*) > 0
    AND (grouping(turn_bucket) = 1 OR turn_bucket IS NOT NULL)
    AND (grouping(quarter) = 1 OR quarter IS NOT NULL)
ORDER BY slice = 'turn', slice = 'hit share', quarter, turn_bucket
