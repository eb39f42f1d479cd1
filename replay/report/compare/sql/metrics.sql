-- What a run comes to, over the requests that are compared.
--
-- One row. As in report.summary, but `compared` leaves out requests that did
-- not complete in every run compared, where requests are paired.
SELECT
    count(*) AS requests,
    ratio(sum(hit_tokens), sum(input_tokens)) AS token_hit_rate,
    ratio(sum(session_hit_tokens), sum(input_tokens)) AS session_hit_share,
    ratio(sum(cross_request_hit_tokens), sum(input_tokens))
        AS cross_request_hit_share,
    ratio(sum(cold_tokens), sum(input_tokens)) AS cold_share,
    ratio(sum(capacity_miss_tokens), sum(input_tokens)) AS capacity_miss_share,
    ratio(sum(avoidable_miss_tokens), sum(input_tokens))
        AS avoidable_miss_share,
    ratio(sum(in_flight_tokens), sum(input_tokens)) AS in_flight_share,
    ratio(sum(granularity_tokens), sum(input_tokens)) AS granularity_share,
    ratio(sum(policy_miss_tokens), sum(input_tokens)) AS policy_miss_share,
    ratio(sum(disabled_tokens), sum(input_tokens)) AS disabled_share,
    (sum(input_tokens - hit_tokens) + coalesce(sum(recomputed_tokens), 0))
        ::BIGINT AS computed_tokens,
    -- In tokens: a block of a radix cache is one of them.
    (SELECT evicted_blocks * block_size FROM run) AS evicted_tokens,
    sum(preemptions)::BIGINT AS preemptions,
    (SELECT count(*) FROM requests WHERE status = 'rejected') AS rejected,
    (SELECT count(*) FROM requests WHERE status = 'unfinished') AS unfinished,
    ms(ratio(sum(ttft_ns), count(ttft_ns))) AS ttft_mean_ms,
    ms(quantile_disc(ttft_ns, 0.5)) AS ttft_p50_ms,
    ms(quantile_disc(ttft_ns, 0.9)) AS ttft_p90_ms,
    ms(quantile_disc(ttft_ns, 0.99)) AS ttft_p99_ms,
    ms(ratio(sum(queue_ns), count(queue_ns))) AS queue_mean_ms,
    ms(ratio(sum(prefill_ns), count(prefill_ns))) AS prefill_mean_ms,
    ms(ratio(
        sum(itl_mean_ns::HUGEINT * (output_tokens - 1)),
        sum(output_tokens - 1) FILTER (itl_mean_ns IS NOT NULL)
    )) AS itl_mean_ms,
    ms(ratio(sum(e2e_ns), count(e2e_ns))) AS e2e_mean_ms,
    ms(quantile_disc(e2e_ns, 0.5)) AS e2e_p50_ms,
    ms(quantile_disc(e2e_ns, 0.99)) AS e2e_p99_ms
FROM compared
