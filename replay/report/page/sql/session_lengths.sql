-- What became of the prompt tokens, by how many requests the session has.
WITH sizes AS (
    SELECT
        session_id,
        least(ceil(log2(count(*))), 4)::INTEGER AS size
    FROM requests
    WHERE session_id IS NOT NULL
    GROUP BY session_id
),

lengths AS (
    SELECT
        sizes.size,
        part,
        place,
        count(*) AS requests,
        sum(tokens)::BIGINT AS tokens
    FROM prompt_parts
    INNER JOIN sizes USING (session_id)
    GROUP BY sizes.size, part, place
    QUALIFY sum(sum(tokens)) OVER (PARTITION BY part) > 0
)

SELECT
    ['1', '2', '3-4', '5-8', '9+'][size + 1] AS session_requests,
    requests,
    part,
    tokens,
    ratio(tokens, sum(tokens) OVER (PARTITION BY size)) AS token_share
FROM lengths
ORDER BY size, place
