-- The shared prefixes that saved most: up to 20, by tokens saved.
--
-- A prefix is a run of tokens that every request uses whole or not at all;
-- hits are those of the whole run, whatever became of the requests.
--
-- Needs: prefixes
-- Columns:
-- prefix_id BIGINT -: edge of the prefix tree, see the table prefixes
-- start_tokens BIGINT tokens: where it starts in the prompts that use it
-- stop_tokens BIGINT tokens: where it ends
-- requests BIGINT requests: whose prompt contains it
-- sessions BIGINT sessions: whose prompts contain it; null without sessions
-- hit_tokens BIGINT tokens: prompt tokens it saved
-- hit_share DOUBLE share: of the hit tokens of all requests
-- evicted_blocks BIGINT blocks: times a block of it was evicted
-- first_request_id BIGINT -: the first request that contains it
-- last_block_id UBIGINT -: its last block; null where content is no block ids
--
-- Example: how much of all hits the ten best prefixes carry
-- SELECT sum(hit_tokens) FROM
-- (FROM report.prefixes ORDER BY hit_tokens DESC, prefix_id LIMIT 10)
SELECT
    prefix_id,
    start_tokens,
    stop_tokens,
    requests,
    sessions,
    hit_tokens,
    ratio(hit_tokens, (SELECT sum(hit_tokens) FROM requests)) AS hit_share,
    evicted_blocks,
    first_request_id,
    last_block_id
FROM main.prefixes  -- the table: as report.prefixes this is a view of its name
WHERE requests > 1 AND hit_tokens > 0
ORDER BY hit_tokens DESC, prefix_id
LIMIT 20
