-- What became of the prompt tokens, by a column of the trace: the five values
-- with most prompt tokens, and all others.
WITH ranked AS (
    SELECT
        coalesce("COLUMN"::VARCHAR, 'none') AS value,
        row_number() OVER (
            ORDER BY sum(input_tokens) DESC, value
        ) AS rank
    FROM completed
    GROUP BY value
),

valued AS (
    SELECT
        least(rank, 6) AS rank,
        if(rank < 6, value, 'others') AS value,
        part,
        place,
        count(*) AS requests,
        sum(tokens)::BIGINT AS tokens
    FROM prompt_parts
    INNER JOIN ranked
        ON ranked.value = coalesce(prompt_parts."COLUMN"::VARCHAR, 'none')
    GROUP BY 1, 2, part, place
    QUALIFY sum(sum(tokens)) OVER (PARTITION BY part) > 0
)

SELECT
    value,
    requests,
    part,
    tokens,
    ratio(tokens, sum(tokens) OVER (PARTITION BY rank)) AS token_share
FROM valued
ORDER BY rank, place
