-- What the reports are written with, and what a query may use too.
--
-- ms(ns) DOUBLE ms: nanoseconds as milliseconds
-- ratio(part, whole) DOUBLE: part / whole, null where whole is zero
-- clock(ns, step_ns) VARCHAR: a time as h:mm:ss, with ms where steps are short
-- round_width_ns(span_ns, most) BIGINT ns: the narrowest round width that cuts
--   a span into at most about so many windows
-- completed: the requests that completed; rates and latencies are about these
-- paired: of these, the ones that completed with caching off too, with
--   ttft_saving_ns BIGINT ns: TTFT with caching off - TTFT with caching on
-- prompt_parts: completed requests whose reuse is known, a row for each part
--   of a prompt: part VARCHAR, place INTEGER (in a stack), tokens BIGINT
CREATE MACRO ms(ns) AS ns / 1e6;
CREATE MACRO ratio(part, whole) AS part / nullif(whole, 0);
CREATE MACRO clock(ns, step_ns) AS format(
    '{}:{:02d}:{:02d}{}',
    ns // 3_600_000_000_000,
    ns // 60_000_000_000 % 60,
    ns // 1_000_000_000 % 60,
    CASE
        WHEN step_ns < 1_000_000_000
            THEN format('.{:03d}', ns // 1_000_000 % 1_000)
        ELSE ''
    END
);

CREATE MACRO round_width_ns(span_ns, most) AS coalesce(
    list_min(list_filter(
        [
            1, 2, 5, 10, 20, 50, 100, 200, 500,
            1_000, 2_000, 5_000, 10_000, 15_000, 30_000,
            60_000, 120_000, 180_000, 300_000, 600_000, 900_000, 1_800_000,
            3_600_000, 7_200_000, 10_800_000, 21_600_000, 43_200_000,
            86_400_000, 172_800_000, 432_000_000, 864_000_000
        ]::BIGINT[],
        lambda width_ms: width_ms * 1_000_000 * most > span_ns
    )) * 1_000_000,
    span_ns // most + 1
);

CREATE VIEW completed AS
SELECT * FROM requests WHERE status = 'completed';

CREATE VIEW paired AS
-- A trace may have brought a column of any name.
SELECT
    COLUMNS(lambda name: name <> 'ttft_saving_ns'),
    no_cache_ttft_ns - ttft_ns AS ttft_saving_ns
FROM completed
WHERE no_cache_status = 'completed' AND ttft_ns IS NOT NULL;

CREATE VIEW prompt_parts AS
SELECT
    COLUMNS(lambda name: name NOT IN ('parts', 'part', 'place', 'tokens')),
    unnest([
        {part: 'reused: same session', place: 0, tokens: session_hit_tokens},
        {part: 'reused: other requests', place: 1,
            tokens: cross_request_hit_tokens},
        {part: 'evicted, avoidable', place: 2,
            tokens: coalesce(avoidable_miss_tokens, 0)},
        {part: 'evicted, unavoidable', place: 3, tokens: coalesce(
            capacity_miss_tokens - avoidable_miss_tokens, 0)},
        -- Of some runs it is unknown what the optimum would have kept.
        {part: 'evicted', place: 4, tokens: if(
            avoidable_miss_tokens IS NULL, capacity_miss_tokens, 0)},
        {part: 'being computed', place: 5, tokens: in_flight_tokens},
        {part: 'rounding', place: 6, tokens: granularity_tokens},
        {part: 'not kept for it', place: 7, tokens: policy_miss_tokens},
        {part: 'not looked up', place: 8, tokens: disabled_tokens},
        {part: 'never seen', place: 9, tokens: cold_tokens}
    ], recursive := true)
FROM completed
WHERE hit_tokens IS NOT NULL;
