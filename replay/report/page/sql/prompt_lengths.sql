-- What became of the prompt tokens, by length of the prompt.
WITH lengths AS (
    SELECT
        least(greatest(floor(log2(input_tokens / 1000)) + 1, 0), 5)::INTEGER
            AS size,
        part,
        place,
        count(*) AS requests,
        sum(tokens)::BIGINT AS tokens
    FROM prompt_parts
    WHERE input_tokens > 0
    GROUP BY size, part, place
    QUALIFY sum(sum(tokens)) OVER (PARTITION BY part) > 0
)

SELECT
    ['<1k', '1-2k', '2-4k', '4-8k', '8-16k', '16k+'][size + 1]
        AS prompt_tokens,
    requests,
    part,
    tokens,
    ratio(tokens, sum(tokens) OVER (PARTITION BY size)) AS token_share
FROM lengths
ORDER BY size, place
