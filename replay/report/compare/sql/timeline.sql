-- What the engines did, on one clock: a row for each run and interval.
--
-- Intervals of a run are doubled as time goes on, so the widest of all runs
-- holds whole ones of each; about 200 over the longest run. Means while busy.
WITH wider AS (
    SELECT
        max(width_ns) * greatest(ceil(
            max(start_ns + width_ns) / max(width_ns) / 200
        ), 1)::BIGINT AS bin_ns
    FROM timelines
)

SELECT
    run,
    start_ns // bin_ns * bin_ns / 1e9 AS from_s,
    bin_ns / 1e9 AS width_s,
    coalesce(a.ratio(sum(running_request_ns), sum(busy_ns)), 0) AS running,
    coalesce(a.ratio(sum(waiting_request_ns), sum(busy_ns)), 0) AS waiting,
    a.ratio(sum(used_block_ns), sum(busy_ns) * any_value(capacity_blocks))
        AS held_share,
    a.ratio(sum(cached_block_ns), sum(busy_ns) * any_value(capacity_blocks))
        AS cached_share,
    (sum(evicted_blocks) * any_value(block_size) * 1e9 / bin_ns)
        AS evicted_tokens_per_s,
    sum(prefill_tokens) * 1e9 / bin_ns AS prompt_tokens_per_s,
    sum(preemptions)::BIGINT AS preemptions
FROM timelines, wider
GROUP BY run, start_ns // bin_ns, bin_ns
ORDER BY run, from_s
