-- The hit rate of LRU at other capacities, exact; of all requests of a run, one
-- after another.
SELECT
    run,
    capacity_blocks,
    capacity_blocks * block_size AS capacity_tokens,
    capacity_blocks * block_size * kv_bytes_per_token / 2**30 AS capacity_gib,
    token_hit_rate
FROM all_curves
ORDER BY run, capacity_blocks
