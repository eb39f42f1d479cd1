-- Where the prompt tokens went: reused, or missed and why.
--
-- Completed requests only; the parts add up to their prompts, and parts that
-- are nowhere are left out. Evicted, avoidable: the optimum would have kept
-- them in the same memory.
--
-- Needs: content
-- Columns:
-- part VARCHAR -: what became of the tokens
-- tokens BIGINT tokens: prompt tokens
-- token_share DOUBLE share: of all prompt tokens
--
-- Example: what a better policy or more memory could still reuse
-- SELECT sum(token_share) FROM report.causes WHERE part LIKE 'evicted%'
SELECT
    part,
    sum(tokens)::BIGINT AS tokens,
    ratio(sum(tokens), sum(sum(tokens)) OVER ()) AS token_share
FROM prompt_parts
GROUP BY part, place
HAVING sum(tokens) > 0
ORDER BY place
