-- What the reports are written with, and what a query may use too.
--
-- ms(ns) DOUBLE ms: nanoseconds as milliseconds
-- ratio(part, whole) DOUBLE: part / whole, null where whole is zero
-- clock(ns, step_ns) VARCHAR: a time as h:mm:ss, with ms where steps are short
-- completed: the requests that completed; rates and latencies are about these
-- paired: of these, the ones that completed with caching off too, with
--   ttft_saving_ns BIGINT ns: TTFT with caching off - TTFT with caching on
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

CREATE VIEW completed AS
SELECT * FROM requests WHERE status = 'completed';

CREATE VIEW paired AS
-- A trace may have brought a column of any name.
SELECT
    COLUMNS(lambda name: name <> 'ttft_saving_ns'),
    no_cache_ttft_ns - ttft_ns AS ttft_saving_ns
FROM completed
WHERE no_cache_status = 'completed' AND ttft_ns IS NOT NULL;
