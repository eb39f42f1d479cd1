-- How many requests of two runs are not the same, though the trace is.
--
-- Arrivals were divided by the speed-up and rounded.
--
-- Variables: a_speedup, b_speedup (null: arrivals were moved and tell nothing)
SELECT count(*)
FROM a.requests AS one
FULL JOIN b.requests AS other USING (request_id)
WHERE one.input_tokens IS DISTINCT FROM other.input_tokens
    OR one.output_tokens IS DISTINCT FROM other.output_tokens
    OR abs(
        one.arrival_ns * getvariable('a_speedup')
        - other.arrival_ns * getvariable('b_speedup')
    ) > getvariable('a_speedup') + getvariable('b_speedup')
        + 1e-9 * one.arrival_ns * getvariable('a_speedup')
