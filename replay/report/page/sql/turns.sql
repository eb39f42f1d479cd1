-- What became of the prompt tokens, by turn of the session; the first is 1.
WITH turns AS (
    SELECT
        least(turn, 5) AS turn_from_0,
        part,
        place,
        count(*) AS requests,
        sum(tokens)::BIGINT AS tokens
    FROM prompt_parts
    WHERE turn IS NOT NULL
    GROUP BY turn_from_0, part, place
    QUALIFY sum(sum(tokens)) OVER (PARTITION BY part) > 0
)

SELECT
    if(turn_from_0 = 5, '6+', (turn_from_0 + 1)::VARCHAR) AS turn,
    requests,
    part,
    tokens,
    ratio(tokens, sum(tokens) OVER (PARTITION BY turn_from_0)) AS token_share
FROM turns
ORDER BY turn_from_0, place
