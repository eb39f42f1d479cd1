-- How many requests are faster or slower in b, and reuse more or less.
--
-- Variables: band
SELECT
    count(*) AS pairs,
    count(*) FILTER (b_ttft_ns < a_ttft_ns) AS faster,
    count(*) FILTER (b_ttft_ns > a_ttft_ns) AS slower,
    count(*) FILTER (
        greatest(a_ttft_ns, b_ttft_ns)
        > least(a_ttft_ns, b_ttft_ns) * getvariable('band')
    ) AS beyond,
    count(*) FILTER (b_hit_tokens > a_hit_tokens) AS reuse_more,
    count(*) FILTER (b_hit_tokens < a_hit_tokens) AS reuse_less
FROM pairs
