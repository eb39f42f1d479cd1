-- The requests that waited longest for their first token.
SELECT
    request_id,
    session_id,
    turn,
    arrival_ns / 1e9 AS arrival_s,
    ms(ttft_ns) AS ttft_ms,
    CASE WHEN no_cache_status = 'completed' THEN ms(no_cache_ttft_ns) END
        AS no_cache_ttft_ms,
    ms(queue_ns) AS queue_ms,
    ms(coalesce(overhead_ns, 0)) AS overhead_ms,
    ms(prefill_ns) AS prefill_ms,
    input_tokens,
    hit_tokens,
    capacity_miss_tokens,
    preemptions
FROM completed
WHERE ttft_ns IS NOT NULL
ORDER BY ttft_ns DESC, request_id
LIMIT 12
