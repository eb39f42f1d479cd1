-- The prefix tree: the sixty prefixes that saved most and what they hang from.
-- Requests lie side by side, the children of a prefix below it, the one with
-- most requests first. kept is the share of its repeats that hit.
WITH RECURSIVE
chosen AS (
    (
        SELECT prefix_id, parent_prefix_id
        FROM prefixes
        WHERE requests > 1
        ORDER BY hit_tokens DESC, prefix_id
        LIMIT 60
    )
    UNION
    SELECT prefixes.prefix_id, prefixes.parent_prefix_id
    FROM prefixes
    INNER JOIN chosen ON prefixes.prefix_id = chosen.parent_prefix_id
),

-- Whoever contains a prefix contains its parent: the first are closed.
kept AS (
    SELECT
        prefixes.*,
        coalesce(sum(prefixes.requests) OVER (
            PARTITION BY prefixes.parent_prefix_id
            ORDER BY prefixes.requests DESC, prefixes.prefix_id
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ), 0) AS beside
    FROM prefixes
    WHERE prefix_id IN (SELECT prefix_id FROM chosen)
    QUALIFY row_number() OVER (
        ORDER BY prefixes.requests DESC, prefixes.prefix_id
    ) <= 300
),

laid AS (
    SELECT *, beside AS from_request
    FROM kept
    WHERE parent_prefix_id IS NULL
    UNION ALL
    SELECT kept.*, laid.from_request + kept.beside
    FROM kept
    INNER JOIN laid ON kept.parent_prefix_id = laid.prefix_id
)

SELECT
    prefix_id,
    start_tokens,
    stop_tokens,
    from_request::BIGINT AS from_request,
    (from_request + requests)::BIGINT AS to_request,
    requests,
    sessions,
    hit_tokens,
    least(
        ratio(hit_tokens, (stop_tokens - start_tokens) * (requests - 1)), 1
    ) AS kept,
    ratio(hit_tokens, (SELECT sum(hit_tokens) FROM requests)) AS hit_share
FROM laid
ORDER BY hit_tokens DESC, prefix_id
