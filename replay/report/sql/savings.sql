-- Time to first token with the cache and without, and what that saved.
--
-- Requests that completed both times, so that each is compared with itself;
-- all that completed where there is no pair. Percentiles are of each side
-- ranked for itself: the smallest wait that so many requests do not exceed.
--
-- Needs: timed
-- Columns:
-- statistic VARCHAR -: mean, median, or a percentile
-- ttft_ms DOUBLE ms: arrival to first token
-- no_cache_ttft_ms DOUBLE ms: the same with caching off; null without a pair
-- saved_ms DOUBLE ms: the difference
-- saved_share DOUBLE share: saved_ms / no_cache_ttft_ms
--
-- Example: what caching saves of the slowest waits
-- SELECT saved_share FROM report.savings WHERE statistic = '99%'
WITH compared AS (
    SELECT
        ttft_ns,
        CASE WHEN no_cache_status = 'completed' THEN no_cache_ttft_ns END
            AS off_ns
    FROM completed
    WHERE ttft_ns IS NOT NULL
        AND (
            no_cache_status = 'completed'
            OR (SELECT count(*) = 0 FROM paired)
        )
),

found AS (
    SELECT
        ratio(sum(ttft_ns), count(*)) AS mean_on,
        ratio(sum(off_ns), count(off_ns)) AS mean_off,
        quantile_disc(ttft_ns, [0.5, 0.9, 0.99]) AS ranks_on,
        quantile_disc(off_ns, [0.5, 0.9, 0.99]) AS ranks_off
    FROM compared
    HAVING count(*) > 0
),

-- Unnested side by side: the first is the mean, the others the percentiles.
listed AS (
    SELECT
        unnest(['mean', 'median', '90%', '99%']) AS statistic,
        unnest([0, 1, 2, 3]) AS place,
        unnest(list_prepend(mean_on, ranks_on)) AS on_ns,
        unnest(list_prepend(mean_off, coalesce(ranks_off, [NULL, NULL, NULL])))
            AS off_ns
    FROM found
)

SELECT
    statistic,
    ms(on_ns) AS ttft_ms,
    ms(off_ns) AS no_cache_ttft_ms,
    ms(off_ns - on_ns) AS saved_ms,
    ratio(off_ns - on_ns, off_ns) AS saved_share
FROM listed
ORDER BY place
