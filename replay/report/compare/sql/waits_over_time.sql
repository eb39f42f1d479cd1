-- Median time to first token by arrival, in windows of a hundred requests or
-- more on average, a cut last one left out.
WITH span AS (
    SELECT
        max(arrival_ns) AS last_ns,
        a.round_width_ns(
            max(arrival_ns),
            greatest(least(48, min(requests) // 100), 1)
        ) AS width_ns
    FROM (
        SELECT *, count(*) OVER (PARTITION BY run) AS requests FROM everyone
    )
)

SELECT
    run,
    arrival_ns // width_ns * width_ns / 1e9 AS from_s,
    (arrival_ns // width_ns + 1) * width_ns / 1e9 AS to_s,
    quantile_disc(ttft_ns, 0.5) / 1e6 AS median_ms,
    count(*) AS requests
FROM everyone, span
WHERE ttft_ns IS NOT NULL
GROUP BY run, arrival_ns // width_ns, width_ns, last_ns
HAVING (arrival_ns // width_ns + 1) * width_ns <= last_ns
    OR arrival_ns // width_ns = 0
ORDER BY run, from_s
