-- What waits are made of, by how long they are: means of requests ranked by
-- their time to first token, with the cache and without for itself.
WITH sides AS (
    SELECT
        'with cache' AS side,
        ttft_ns AS wait_ns,
        queue_ns,
        coalesce(overhead_ns, 0) AS overhead_ns,
        prefill_ns
    FROM completed
    UNION ALL
    SELECT
        'without cache',
        no_cache_ttft_ns,
        no_cache_queue_ns,
        coalesce(overhead_ns, 0),
        no_cache_prefill_ns
    FROM completed
    WHERE no_cache_status = 'completed'
),

ranked AS (
    SELECT
        *,
        cume_dist() OVER (PARTITION BY side ORDER BY wait_ns) AS upto
    FROM sides
    WHERE wait_ns IS NOT NULL
),

banded AS (
    SELECT
        side,
        CASE
            WHEN upto <= 0.5 THEN 0
            WHEN upto <= 0.9 THEN 1
            WHEN upto <= 0.99 THEN 2
            ELSE 3
        END AS band_place,
        count(*) AS requests,
        ms(ratio(sum(wait_ns), count(*))) AS wait_ms,
        unnest([
            {part: 'queue', place: 0, ms: ms(ratio(sum(queue_ns), count(*)))},
            {part: 'overhead', place: 1,
                ms: ms(ratio(sum(overhead_ns), count(*)))},
            {part: 'prefill', place: 2,
                ms: ms(ratio(sum(prefill_ns), count(*)))}
        ], recursive := true)
    FROM ranked
    GROUP BY side, band_place
)

SELECT
    side,
    ['fastest half', 'to 90%', 'to 99%', 'slowest 1%'][band_place + 1] AS band,
    requests,
    part,
    ms,
    wait_ms
FROM banded
QUALIFY sum(ms) OVER (PARTITION BY part) > 0
ORDER BY side, band_place, place
