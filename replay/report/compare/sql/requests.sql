-- The requests that lost most and that gained most in b.
--
-- By TTFT where both runs are timed, else by tokens reused; ten of each.
--
-- Variables: timed
WITH changed AS (
    SELECT
        *,
        if(
            getvariable('timed'),
            b_ttft_ns - a_ttft_ns,
            a_hit_tokens - b_hit_tokens
        ) AS worse_by
    FROM pairs
),

most AS (
    (
        SELECT 'lost' AS side, * FROM changed
        WHERE worse_by > 0
        ORDER BY worse_by DESC, request_id
        LIMIT 10
    )
    UNION ALL
    (
        SELECT 'gained' AS side, * FROM changed
        WHERE worse_by < 0
        ORDER BY worse_by, request_id
        LIMIT 10
    )
)

SELECT
    side,
    request_id,
    session_id,
    turn,
    input_tokens,
    a_hit_tokens,
    b_hit_tokens,
    a.ms(a_ttft_ns) AS a_ttft_ms,
    a.ms(b_ttft_ns) AS b_ttft_ms,
    a.ms(b_ttft_ns - a_ttft_ns) AS ttft_difference_ms,
    a.ms(a_queue_ns) AS a_queue_ms,
    a.ms(b_queue_ns) AS b_queue_ms
FROM most
ORDER BY side DESC, abs(worse_by) DESC, request_id
