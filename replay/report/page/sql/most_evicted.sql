-- The requests that lost most of their prompt to eviction.
SELECT
    request_id,
    session_id,
    turn,
    arrival_ns / 1e9 AS arrival_s,
    input_tokens,
    hit_tokens,
    capacity_miss_tokens,
    avoidable_miss_tokens
FROM completed
WHERE capacity_miss_tokens > 0
ORDER BY capacity_miss_tokens DESC, request_id
LIMIT 12
