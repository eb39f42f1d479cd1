-- Where the requests of a run lie: a row for each measure and share of them.
--
-- A quantile is the value of a request, the nearest rank.
WITH shares AS (
    SELECT unnest(
        [0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99]::DOUBLE[]
    ) AS share
),

measures AS (
    SELECT unnest([
        {measure: 'ttft_ms', place: 0, value: ms(ttft_ns)},
        {measure: 'queue_ms', place: 1, value: ms(queue_ns)},
        {measure: 'itl_mean_ms', place: 2, value: ms(itl_mean_ns)},
        {measure: 'e2e_ms', place: 3, value: ms(e2e_ns)},
        {measure: 'request_hit_share', place: 4,
            value: ratio(hit_tokens, input_tokens)},
        {measure: 'input_tokens', place: 5, value: input_tokens::DOUBLE},
        {measure: 'output_tokens', place: 6, value: output_tokens::DOUBLE}
    ], recursive := true)
    FROM compared
),

ordered AS (
    SELECT measure, place, list(value ORDER BY value) AS all_values
    FROM measures
    WHERE value IS NOT NULL
    GROUP BY measure, place
)

SELECT
    measure,
    place,
    share,
    all_values[greatest(ceil(share * len(all_values)), 1)::BIGINT] AS value
FROM ordered, shares
