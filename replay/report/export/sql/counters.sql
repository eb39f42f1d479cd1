-- What an engine did over time, a row an interval of the table timeline.
--
-- Means are over the steps that ended in an interval: what was integrated
-- over them, divided by the time they took. Where none ended nothing ran, and
-- what was cached stays as it was, so that is null.
--
-- Variables: shown_from_ns, shown_to_ns
SELECT
    start_ns // 1000 AS start_us,
    (start_ns + width_ns) // 1000 AS end_us,
    coalesce(ratio(running_request_ns, busy_ns), 0) AS "requests running",
    coalesce(ratio(waiting_request_ns, busy_ns), 0) AS "requests waiting",
    coalesce(ratio(used_block_ns, busy_ns), 0) AS "KV blocks in use",
    ratio(cached_block_ns, busy_ns) AS "KV blocks cached and idle",
    evicted_blocks * 1e9 / width_ns AS "KV blocks evicted/s",
    preemptions AS "preemptions",
    prefill_tokens * 1e9 / width_ns AS "prompt tokens computed/s",
    decode_tokens * 1e9 / width_ns AS "output tokens decoded/s",
    steps * 1e9 / width_ns AS "steps/s"
FROM timeline
WHERE start_ns + width_ns > getvariable('shown_from_ns')
    AND start_ns < getvariable('shown_to_ns')
ORDER BY start_ns
