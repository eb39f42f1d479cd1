-- Time to first token of the same requests in both runs, counted in squares of
-- equal ratio, forty across what there is.
--
-- Macros and variables: beyond (of band, factor, slack_ns)
WITH times AS (
    SELECT
        log2(greatest(a_ttft_ns, 1000) / 1e6) AS a_log,
        log2(greatest(b_ttft_ns, 1000) / 1e6) AS b_log,
        CASE
            WHEN beyond(a_ttft_ns, b_ttft_ns, 1) THEN 'sooner'
            WHEN beyond(b_ttft_ns, a_ttft_ns, 1) THEN 'later'
            ELSE 'tie'
        END AS verdict
    FROM pairs
    WHERE a_ttft_ns IS NOT NULL AND b_ttft_ns IS NOT NULL
),

reach AS (
    SELECT
        min(least(a_log, b_log)) AS low,
        greatest(
            max(greatest(a_log, b_log)) - min(least(a_log, b_log)), 1e-3
        ) / 40 AS step
    FROM times
)

SELECT
    pow(2, low + step * a_bin) AS a_from_ms,
    pow(2, low + step * (a_bin + 1)) AS a_to_ms,
    pow(2, low + step * b_bin) AS b_from_ms,
    pow(2, low + step * (b_bin + 1)) AS b_to_ms,
    verdict,
    requests
FROM (
    SELECT
        least(floor((a_log - low) / step), 39) AS a_bin,
        least(floor((b_log - low) / step), 39) AS b_bin,
        low,
        step,
        verdict,
        count(*) AS requests
    FROM times, reach
    GROUP BY ALL
)
ORDER BY a_from_ms, b_from_ms, verdict
