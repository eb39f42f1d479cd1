-- What more memory, less of it or the optimum would reuse.
--
-- Of all requests of the trace, one after another: LRU, exact, and the
-- optimum, which knows the future. The line of the run itself is what it did
-- reuse, its requests overlapping, under the policy it had. Empty for a run
-- that stopped before all requests ended: it is not of the same requests.
--
-- Needs: curve, ended
-- Columns:
-- cache VARCHAR -: which cache
-- policy VARCHAR -: what it evicts by; min is the optimum
-- capacity_blocks BIGINT blocks: KV it may hold; null: no limit
-- capacity_gib DOUBLE GiB: the same; null without a model
-- hit_tokens BIGINT tokens: prompt tokens it saves
-- token_hit_rate DOUBLE share: of the prompt tokens of all requests
--
-- Example: what twice the memory is worth
-- SELECT token_hit_rate FROM report.memory WHERE cache = 'twice the memory'
WITH totals AS (
    SELECT
        sum(input_tokens) AS input_tokens,
        sum(hit_tokens) AS hit_tokens
    FROM requests
),

ceiling AS (
    SELECT max(hit_tokens) AS tokens FROM curve WHERE policy = 'lru'
),

named AS (
    SELECT
        0 AS place,
        'this run' AS cache,
        run.policy,
        run.capacity_blocks,
        totals.hit_tokens
    FROM run, totals
    WHERE (SELECT count(*) FROM curve) > 0

    UNION ALL

    SELECT
        1 + place, cache, 'lru', curve.capacity_blocks, curve.hit_tokens
    FROM (VALUES
        (1, 'half the memory', 0.5),
        (2, 'the same memory', 1.0),
        (3, 'twice the memory', 2.0),
        (4, 'four times the memory', 4.0)
    ) AS what_if (place, cache, times)
    INNER JOIN run ON true
    INNER JOIN curve
        ON curve.policy = 'lru'
        AND curve.capacity_blocks
        = greatest(floor(times * run.capacity_blocks), 1)

    UNION ALL

    SELECT
        6, '90% of the ceiling', 'lru',
        min(curve.capacity_blocks), min(curve.hit_tokens)
    FROM curve, ceiling
    WHERE curve.policy = 'lru' AND curve.hit_tokens >= 0.9 * ceiling.tokens
    HAVING count(*) > 0

    UNION ALL

    SELECT 7, 'unlimited memory', 'lru', NULL, tokens
    FROM ceiling WHERE tokens IS NOT NULL

    UNION ALL

    SELECT
        8, 'the same memory, optimum', 'min',
        curve.capacity_blocks, curve.hit_tokens
    FROM curve
    INNER JOIN run
        ON curve.policy = 'min' AND curve.capacity_blocks = run.capacity_blocks
)

SELECT
    cache,
    named.policy,
    named.capacity_blocks::BIGINT AS capacity_blocks,
    named.capacity_blocks * run.block_size * run.kv_bytes_per_token / 2**30
        AS capacity_gib,
    named.hit_tokens::BIGINT AS hit_tokens,
    ratio(named.hit_tokens, totals.input_tokens) AS token_hit_rate
FROM named, totals, run
WHERE NOT EXISTS (FROM requests WHERE status = 'unfinished')
ORDER BY place, cache
