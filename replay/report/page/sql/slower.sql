-- How many requests waited longer for their first token with the cache.
SELECT
    count(*) FILTER (ttft_saving_ns < 0) AS slower,
    count(*) AS paired
FROM paired
