-- Who gained and who lost: the same requests in both runs, by what they are.
--
-- Buckets of a slice beyond the eleven with the most requests are added up as
-- others. A request is faster or slower in b where its TTFTs differ by more
-- than the GPU model's error; the mean of a bucket stands by the same rule.
--
-- Macros and variables: beyond (of band, factor, slack_ns); band (factor by
-- which TTFTs must differ; null: unknown). Between that and what the ranges of
-- two servers allow for, a mean is unjudged.
WITH placed AS (
    SELECT
        *,
        unnest([
            {slice: 'turn', slice_place: 0, place: least(turn, 10)::BIGINT,
                bucket: CASE WHEN turn < 10 THEN turn::VARCHAR
                    WHEN turn >= 10 THEN '10+' END},
            {slice: 'prompt tokens', slice_place: 1, place: thousands,
                bucket: if(thousands = 0, 'below 1,000',
                    format('{:,}-{:,}', thousands * 1000, thousands * 2000))},
            {slice: 'requests of the session', slice_place: 2,
                place: session_requests, bucket: CASE
                    WHEN session_id IS NULL THEN NULL
                    WHEN session_requests < 5 THEN session_requests::VARCHAR
                    WHEN session_requests < 10 THEN '5-9'
                    WHEN session_requests < 20 THEN '10-19'
                    ELSE '20+' END}
            -- more slices
        ], recursive := true)
    FROM (
        -- The power of two of thousands of tokens that a prompt reaches.
        SELECT
            *,
            if(input_tokens < 1000, 0,
                1 << floor(log2(input_tokens // 1000))::INTEGER)::BIGINT
                AS thousands
        FROM pairs
    )
),

counted AS (
    SELECT *, count(*) OVER (PARTITION BY slice, bucket) AS bucket_requests
    FROM placed
    WHERE bucket IS NOT NULL
),

ranked AS (
    SELECT
        *,
        dense_rank() OVER (
            PARTITION BY slice ORDER BY bucket_requests DESC, bucket
        ) AS bucket_rank
    FROM counted
),

told AS (
    SELECT
        slice,
        slice_place,
        if(bucket_rank > 11, 'others', bucket) AS bucket,
        min(if(bucket_rank > 11, 1::BIGINT << 62, place)) AS place,
        count(*) AS requests,
        a.ratio(sum(a_hit_tokens), sum(input_tokens)) AS a_token_hit_rate,
        a.ratio(sum(b_hit_tokens), sum(input_tokens)) AS b_token_hit_rate,
        sum(a_ttft_ns) AS a_ttft,
        sum(b_ttft_ns) AS b_ttft,
        count(*) FILTER (beyond(a_ttft_ns, b_ttft_ns, 1)) AS faster,
        count(*) FILTER (beyond(b_ttft_ns, a_ttft_ns, 1)) AS slower
    FROM ranked
    GROUP BY ALL
)

SELECT
    slice,
    bucket,
    requests,
    a_token_hit_rate,
    b_token_hit_rate,
    100 * (b_token_hit_rate - a_token_hit_rate) AS gained_points,
    a.ms(a.ratio(a_ttft, requests)) AS a_ttft_mean_ms,
    a.ms(a.ratio(b_ttft, requests)) AS b_ttft_mean_ms,
    a.ms(a.ratio(b_ttft - a_ttft, requests)) AS ttft_difference_ms,
    if(getvariable('band') IS NULL, NULL, faster) AS faster_in_b,
    if(getvariable('band') IS NULL, NULL, slower) AS slower_in_b,
    CASE
        WHEN a_ttft = b_ttft THEN 'tie'
        WHEN getvariable('band') IS NULL THEN NULL
        WHEN beyond(greatest(a_ttft, b_ttft), least(a_ttft, b_ttft), requests)
            THEN 'stands'
        WHEN greatest(a_ttft, b_ttft)
            > least(a_ttft, b_ttft) * getvariable('band') THEN 'unjudged'
        WHEN a_ttft + b_ttft IS NOT NULL THEN 'tie'
    END AS verdict
FROM told
ORDER BY slice_place, slice, place, bucket
