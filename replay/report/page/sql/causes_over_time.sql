-- What became of the prompt tokens, by arrival: tokens per second, stacked
-- from low to high; a cut last window is left out.
WITH span AS (
    SELECT
        max(arrival_ns) AS last_ns,
        round_width_ns(max(arrival_ns), 48) AS width_ns
    FROM completed
),

windows AS (
    SELECT
        arrival_ns // width_ns AS time_window,
        part,
        place,
        sum(tokens)::BIGINT AS tokens
    FROM prompt_parts, span
    WHERE (arrival_ns // width_ns + 1) * width_ns <= last_ns
        OR arrival_ns < width_ns
    GROUP BY time_window, part, place
    QUALIFY sum(sum(tokens)) OVER (PARTITION BY part) > 0
)

SELECT
    time_window * width_ns / 1e9 AS from_s,
    (time_window + 1) * width_ns / 1e9 AS to_s,
    part,
    tokens,
    (sum(tokens) OVER stack - tokens) * 1e9 / width_ns AS low,
    sum(tokens) OVER stack * 1e9 / width_ns AS high
FROM windows, span
WINDOW stack AS (PARTITION BY time_window ORDER BY place)
ORDER BY time_window, place
