-- What the engine did, in at most 200 intervals: means while it was busy.
WITH wider AS (
    SELECT
        max(width_ns) * ceil(count(*) / 200)::BIGINT AS bin_ns
    FROM timeline
)

SELECT
    start_ns // bin_ns * bin_ns / 1e9 AS from_s,
    bin_ns / 1e9 AS width_s,
    coalesce(ratio(sum(running_request_ns), sum(busy_ns)), 0) AS running,
    coalesce(ratio(sum(waiting_request_ns), sum(busy_ns)), 0) AS waiting,
    max(waiting_max_requests) AS most_waiting,
    ratio(sum(used_block_ns), sum(busy_ns)) AS held_blocks,
    ratio(sum(cached_block_ns), sum(busy_ns)) AS cached_blocks,
    sum(evicted_blocks) * 1e9 / bin_ns AS evicted_blocks_per_s,
    sum(prefill_tokens) * 1e9 / bin_ns AS prompt_tokens_per_s,
    sum(preemptions)::BIGINT AS preemptions,
    least(sum(busy_ns) / bin_ns, 1) AS busy
FROM timeline, wider
GROUP BY start_ns // bin_ns, bin_ns
ORDER BY from_s
