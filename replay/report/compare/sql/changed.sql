-- How many requests are faster or slower in b, and reuse more or less.
--
-- Macros and variables: beyond (of band, factor, slack_ns)
SELECT
    count(*) AS pairs,
    count(*) FILTER (b_ttft_ns < a_ttft_ns) AS faster,
    count(*) FILTER (b_ttft_ns > a_ttft_ns) AS slower,
    count(*) FILTER (
        beyond(
            greatest(a_ttft_ns, b_ttft_ns), least(a_ttft_ns, b_ttft_ns), 1
        )
    ) AS beyond,
    count(*) FILTER (b_hit_tokens > a_hit_tokens) AS reuse_more,
    count(*) FILTER (b_hit_tokens < a_hit_tokens) AS reuse_less
FROM pairs
