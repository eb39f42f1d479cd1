-- Time to first token, ranked: the smallest wait that a share of a run's
-- requests does not exceed, at 200 shares.
WITH ranked AS (
    SELECT
        run,
        ttft_ns,
        row_number() OVER (PARTITION BY run ORDER BY ttft_ns) AS place,
        count(*) OVER (PARTITION BY run) AS requests
    FROM everyone
    WHERE ttft_ns IS NOT NULL
)

SELECT
    run,
    if(
        requests > 200,
        (200 * (place - 1) // requests + 1) / 200,
        place / requests
    ) AS share,
    max(ttft_ns) / 1e6 AS ms
FROM ranked
GROUP BY run, share
ORDER BY run, share
