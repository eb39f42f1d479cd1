-- Median and 90th percentile of the time to first token, by arrival, in
-- windows of a hundred requests or more on average, a cut last one left out.
WITH span AS (
    SELECT
        max(arrival_ns) AS last_ns,
        round_width_ns(
            max(arrival_ns), greatest(least(48, count(*) // 100), 1)
        ) AS width_ns
    FROM completed
),

placed AS (
    SELECT
        arrival_ns // width_ns AS place,
        ttft_ns,
        CASE WHEN no_cache_status = 'completed' THEN no_cache_ttft_ns END
            AS off_ns
    FROM completed, span
    WHERE ttft_ns IS NOT NULL
),

ranks AS (
    SELECT
        place,
        count(*) AS requests,
        quantile_disc(ttft_ns, 0.5) AS median_on,
        quantile_disc(ttft_ns, 0.9) AS p90_on,
        quantile_disc(off_ns, 0.5) AS median_off,
        quantile_disc(off_ns, 0.9) AS p90_off
    FROM placed
    GROUP BY place
),

listed AS (
    SELECT
        place,
        requests,
        unnest([
            {side: 'with cache', statistic: 'median', wait_ns: median_on},
            {side: 'with cache', statistic: '90%', wait_ns: p90_on},
            {side: 'without cache', statistic: 'median', wait_ns: median_off},
            {side: 'without cache', statistic: '90%', wait_ns: p90_off}
        ], recursive := true)
    FROM ranks
)

SELECT
    place * width_ns / 1e9 AS from_s,
    (place + 1) * width_ns / 1e9 AS to_s,
    statistic,
    side,
    wait_ns / 1e6 AS ms,
    requests
FROM listed, span
WHERE wait_ns IS NOT NULL
    AND ((place + 1) * width_ns <= last_ns OR place = 0)
ORDER BY statistic DESC, side, place
