-- Prompt tokens that were evicted and computed again, by how long after the
-- eviction of the first of them their request came: thirds of a decade.
WITH lost AS (
    SELECT
        greatest((arrival_ns - evicted_ns) / 1e9, 0) AS after_s,
        capacity_miss_tokens,
        avoidable_miss_tokens
    FROM completed
    WHERE evicted_ns IS NOT NULL AND capacity_miss_tokens > 0
),

ranked AS (
    SELECT
        after_s,
        sum(capacity_miss_tokens) OVER (ORDER BY after_s) AS so_far,
        sum(capacity_miss_tokens) OVER () AS whole
    FROM lost
),

binned AS (
    SELECT
        floor(3 * log10(greatest(after_s, 1)))::INTEGER AS bin,
        unnest([
            {part: 'evicted, avoidable', place: 2,
                tokens: coalesce(avoidable_miss_tokens, 0)},
            {part: 'evicted, unavoidable', place: 3, tokens: coalesce(
                capacity_miss_tokens - avoidable_miss_tokens, 0)},
            {part: 'evicted', place: 4, tokens: if(
                avoidable_miss_tokens IS NULL, capacity_miss_tokens, 0)}
        ], recursive := true)
    FROM lost
),

summed AS (
    SELECT bin, part, place, sum(tokens)::BIGINT AS tokens
    FROM binned
    GROUP BY bin, part, place
    QUALIFY sum(sum(tokens)) OVER (PARTITION BY part) > 0
)

SELECT
    pow(10, bin / 3) AS from_s,
    pow(10, (bin + 1) / 3) AS to_s,
    part,
    tokens,
    (sum(tokens) OVER stack - tokens)::BIGINT AS low,
    (sum(tokens) OVER stack)::BIGINT AS high,
    (SELECT min(after_s) FROM ranked WHERE 2 * so_far >= whole)
        AS half_within_s
FROM summed
WINDOW stack AS (PARTITION BY bin ORDER BY place)
ORDER BY bin, place
