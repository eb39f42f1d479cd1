-- Time to first token, ranked, with the cache and without: the smallest wait
-- that a share of the requests does not exceed, at 200 shares.
WITH sides AS (
    SELECT 'with cache' AS side, ttft_ns AS wait_ns
    FROM completed
    UNION ALL
    SELECT 'without cache', no_cache_ttft_ns
    FROM completed
    WHERE no_cache_status = 'completed'
),

ranked AS (
    SELECT
        side,
        wait_ns,
        row_number() OVER (PARTITION BY side ORDER BY wait_ns) AS place,
        count(*) OVER (PARTITION BY side) AS requests
    FROM sides
    WHERE wait_ns IS NOT NULL
)

SELECT
    side,
    if(
        requests > 200,
        (200 * (place - 1) // requests + 1) / 200,
        place / requests
    ) AS share,
    max(wait_ns) / 1e6 AS ms
FROM ranked
GROUP BY side, share
ORDER BY side, share
