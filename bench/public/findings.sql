-- name: list_jobs
SELECT (j.input ->> 'producer')::int AS producer, (j.input ->> 'number')::int AS number, h.state = 'completed' AS is_completed
FROM rkyc.job j LEFT JOIN rkyc.history h ON h.job_id = j.id;

-- name: count_dead_letters
SELECT count(*)::int FROM rkyc.dead_letter;

-- name: read_takeovers
-- Tasks of killed replicas: how many were taken over, and how long after its kill the last of them ended.
SELECT count(*)::int AS tasks, extract(epoch FROM max(h.finished_at - k.at))::float8 AS last_s
FROM rkyc.event e JOIN rkyc.history h ON h.job_id = e.job_id
CROSS JOIN LATERAL (SELECT max(a) AS at FROM unnest(:killed_at::timestamptz[]) a WHERE a <= e.at) k
WHERE e.type = 'step.retrying' AND e.data ->> 'reason' = 'worker_lost';
