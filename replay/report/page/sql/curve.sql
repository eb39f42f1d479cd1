-- The hit rate at other capacities: LRU exact, the optimum at a few of them;
-- of all requests, one after another.
SELECT
    curve.policy,
    curve.capacity_blocks,
    curve.capacity_blocks * run.block_size * run.kv_bytes_per_token / 2**30
        AS capacity_gib,
    ratio(
        curve.hit_tokens, (SELECT sum(input_tokens) FROM requests)
    ) AS token_hit_rate
FROM curve, run
ORDER BY curve.policy, curve.capacity_blocks
