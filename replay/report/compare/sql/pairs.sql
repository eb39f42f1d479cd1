-- The same requests in two runs, side by side: those that completed in both.
SELECT
    request_id,
    one.session_id,
    one.turn,
    count(one.session_id) OVER (PARTITION BY one.session_id)
        AS session_requests,
    one.input_tokens,
    one.hit_tokens AS a_hit_tokens,
    other.hit_tokens AS b_hit_tokens,
    one.queue_ns AS a_queue_ns,
    other.queue_ns AS b_queue_ns,
    one.ttft_ns AS a_ttft_ns,
    other.ttft_ns AS b_ttft_ns
    -- more columns
FROM a.compared AS one
JOIN b.compared AS other USING (request_id)
