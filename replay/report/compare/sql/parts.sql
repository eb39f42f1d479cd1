-- Where the prompt tokens of each run went: shares from `low` to `high`.
SELECT
    run,
    part,
    tokens,
    a.ratio(tokens, sum(tokens) OVER (PARTITION BY run)) AS token_share,
    a.ratio(
        sum(tokens) OVER (PARTITION BY run ORDER BY place) - tokens,
        sum(tokens) OVER (PARTITION BY run)
    ) AS low,
    a.ratio(
        sum(tokens) OVER (PARTITION BY run ORDER BY place),
        sum(tokens) OVER (PARTITION BY run)
    ) AS high
FROM (
    SELECT run, part, place, sum(tokens)::BIGINT AS tokens
    FROM all_parts
    GROUP BY run, part, place
    HAVING sum(tokens) > 0
)
ORDER BY run, low
