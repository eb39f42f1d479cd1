-- The requests a timeline shows: when each was where, in whole microseconds.
--
-- Those that completed, and those that had arrived and were unfinished when
-- the run stopped, which last until then; in a window if any of their time lies in it. Whole microseconds
-- of the run's clock, rounded down: bounds that were equal stay equal, and
-- what lay within something still does. What an engine takes outside the GPU
-- stands at the end, so that the rest keeps the clock of the table timeline.
--
-- Variables: from_ns, to_ns (of the window), most (requests)
WITH ended AS (
    SELECT
        *,
        CASE
            WHEN status = 'completed' THEN arrival_ns + e2e_ns
            WHEN status = 'unfinished'
                AND arrival_ns <= (SELECT end_ns FROM run)
                THEN (SELECT end_ns FROM run)
        END AS export_end_ns
    FROM (SELECT COLUMNS(lambda name: name <> 'export_end_ns') FROM requests)
)

SELECT
    request_id AS export_id,
    arrival_ns // 1000 AS export_start_us,
    export_end_ns // 1000 AS export_end_us,
    (arrival_ns + queue_ns) // 1000 AS export_scheduled_us,
    (arrival_ns + queue_ns + prefill_ns) // 1000 AS export_first_us,
    (export_end_ns - if(status = 'completed', overhead_ns, 0)) // 1000
        AS export_done_us,
    evicted_ns // 1000 AS export_evicted_us,
    evicted_by_request_id AS export_evicted_by,
    COLUMNS(lambda name: name NOT IN (
        'request_id', 'arrival_ns', 'export_end_ns',
        'evicted_ns', 'evicted_by_request_id'
    ))
FROM ended
WHERE export_end_ns >= getvariable('from_ns')
    AND arrival_ns < getvariable('to_ns')
ORDER BY request_id
LIMIT getvariable('most')
