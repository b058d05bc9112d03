-- The views that people and other programs read: their columns are a promise (more may follow).
-- None reads an UNLOGGED table, so all of them work on a standby. Takes no lock on existing rows.

-- Every task that is not running, with why it waits.
CREATE VIEW rkyc.waiting_task AS
  SELECT job_id, branch, lane, step, error_attempts, crash_attempts, started_at, 'queued' AS wait_reason,
         NULL::text AS wake_key, NULL::timestamptz AS due_at, NULL::text AS error_code, NULL::text AS error_message
  FROM rkyc.ready
UNION ALL
  SELECT job_id, branch, lane, step, error_attempts, crash_attempts, started_at, reason, NULL, due_at, error_code, error_message
  FROM rkyc.scheduled
UNION ALL
  SELECT job_id, branch, lane, step, error_attempts, crash_attempts, started_at, kind, wake_key, NULL, NULL, NULL
  FROM rkyc.waiting;

-- Every running task with the step it is in: its lease tells where it began, its checkpoints where it is.
CREATE VIEW rkyc.running_task AS
  SELECT r.job_id, r.branch, r.lane, r.fence, r.worker_id, r.started_at, r.crash_attempts,
         coalesce(c.next_step, r.step) AS step,
         coalesce(c.finished_at, r.claimed_at) AS step_started_at,
         CASE WHEN c.seq IS NULL THEN r.error_attempts ELSE 0 END AS error_attempts,
         CASE WHEN c.seq IS NULL THEN r.error_attempts + r.crash_attempts + 1 ELSE 1 END AS attempt
  FROM rkyc.running r
  LEFT JOIN LATERAL (
    SELECT c.seq, c.next_step, c.finished_at FROM rkyc.checkpoint c
    WHERE c.job_id = r.job_id AND c.branch = r.branch AND c.fence = r.fence ORDER BY c.seq DESC LIMIT 1
  ) c ON true;

CREATE VIEW rkyc.job_status AS
SELECT
  j.uuid AS job_id, j.pipeline, j.version, j.lane, l.rank AS priority,
  (CASE WHEN h.job_id IS NOT NULL THEN h.state WHEN r.job_id IS NOT NULL THEN 'running' ELSE 'pending' END)::rkyc.job_state AS status,
  CASE WHEN h.job_id IS NULL AND r.job_id IS NULL THEN w.wait_reason END AS wait_reason,
  coalesce(h.step, r.step, w.step) AS pipeline_step,
  CASE WHEN h.state = 'completed' THEN 100 ELSE least(99, coalesce(done.share, 0)) END::int AS progress_pct,
  coalesce(h.error_code, w.error_code) AS error_code,
  coalesce(h.error_message, w.error_message) AS error_message,
  coalesce(h.error_attempts, r.error_attempts, w.error_attempts, 0)::int AS error_attempts,
  coalesce(h.crash_attempts, r.crash_attempts, w.crash_attempts, 0)::int AS crash_attempts,
  k.name AS worker,
  j.created_at,
  coalesce(h.started_at, r.started_at, w.started_at) AS started_at,
  coalesce(h.finished_at, done.last_at, r.step_started_at, j.created_at) AS updated_at,
  h.finished_at,
  (SELECT sum(u.cost_usd) FROM rkyc.journal u WHERE u.job_id = j.id) AS cost_usd,
  j.metadata || coalesce(done.metadata, '{}') || coalesce(h.metadata, '{}') AS metadata,
  coalesce(h.degraded, false) OR coalesce(done.degraded, false) AS partial,
  w.due_at, w.wake_key
FROM rkyc.job j
LEFT JOIN rkyc.lane l ON l.name = j.lane
LEFT JOIN rkyc.history h ON h.job_id = j.id
LEFT JOIN LATERAL (SELECT * FROM rkyc.running_task r WHERE r.job_id = j.id ORDER BY r.branch LIMIT 1) r ON h.job_id IS NULL
LEFT JOIN LATERAL (SELECT * FROM rkyc.waiting_task w WHERE w.job_id = j.id ORDER BY w.branch LIMIT 1) w ON h.job_id IS NULL
LEFT JOIN LATERAL (
  SELECT max(c.finished_at) AS last_at, bool_or(c.degraded) AS degraded,
    (SELECT sum((s ->> 'share')::numeric) FROM rkyc.pipeline_version v, jsonb_array_elements(v.graph -> 'steps') s
     WHERE v.name = j.pipeline AND v.version = j.version AND s ->> 'name' = ANY (array_agg(c.step))) AS share,
    (SELECT jsonb_object_agg(m.key, m.value ORDER BY m.seq)
     FROM (SELECT c2.seq, e.key, e.value FROM rkyc.checkpoint c2, jsonb_each(c2.metadata) e WHERE c2.job_id = j.id) m) AS metadata
  FROM rkyc.checkpoint c WHERE c.job_id = j.id
) done ON true
LEFT JOIN rkyc.worker k ON k.id = coalesce(h.worker_id, r.worker_id);

CREATE VIEW rkyc.analysis_jobs AS
SELECT job_id AS id, metadata ->> 'corp_id' AS corp_id, pipeline_step, status, metadata, created_at, updated_at, progress_pct, worker
FROM rkyc.job_status WHERE pipeline = 'kyc';

-- One row per step of the job's graph: what is done, what runs, what waits.
CREATE VIEW rkyc.step_status AS
SELECT
  j.uuid AS job_id, g.step, ''::text AS item_key, coalesce(x.attempt, 0)::int AS attempt,
  coalesce(x.status, CASE WHEN h.state IN ('failed', 'cancelled') THEN 'cancelled' ELSE 'pending' END)::rkyc.step_state AS status,
  coalesce(x.degraded, false) AS degraded, x.error_code,
  x.queued_at, x.started_at, x.finished_at,
  (extract(epoch FROM x.finished_at - x.started_at) * 1000)::bigint AS ms,
  k.name AS worker, g.position AS index
FROM rkyc.job j
JOIN rkyc.pipeline_version v ON v.name = j.pipeline AND v.version = j.version
CROSS JOIN LATERAL (
  SELECT s.value ->> 'name' AS step, s.ordinality::int AS position FROM jsonb_array_elements(v.graph -> 'steps') WITH ORDINALITY s
) g
LEFT JOIN rkyc.history h ON h.job_id = j.id
LEFT JOIN LATERAL (
  SELECT * FROM (
    SELECT 3 AS rank, c.attempt::int, 'completed' AS status, c.degraded, NULL::text AS error_code,
           NULL::timestamptz AS queued_at, c.started_at, c.finished_at, c.worker_id, c.seq
    FROM rkyc.checkpoint c WHERE c.job_id = j.id AND c.step = g.step
    UNION ALL
    SELECT 1, h.attempt::int, CASE h.state WHEN 'completed' THEN 'completed' WHEN 'failed' THEN 'failed' ELSE 'cancelled' END, h.degraded,
           h.error_code, NULL, h.step_started_at, h.finished_at, h.worker_id, h.seq
    WHERE h.step = g.step
    UNION ALL
    SELECT 2, r.attempt, 'running', false, NULL, NULL, r.step_started_at, NULL, r.worker_id, 0
    FROM rkyc.running_task r WHERE r.job_id = j.id AND r.step = g.step
    UNION ALL
    SELECT 2, w.error_attempts + w.crash_attempts, 'pending', false, w.error_code, w.due_at, NULL, NULL, NULL, 0
    FROM rkyc.waiting_task w WHERE w.job_id = j.id AND w.step = g.step
  ) one ORDER BY one.rank, one.seq DESC LIMIT 1
) x ON true
LEFT JOIN rkyc.worker k ON k.id = x.worker_id
ORDER BY j.id, g.position;

-- The names of the fastapi_celery_study source: chains and their task logs, in its vocabulary.
CREATE VIEW rkyc.chain_executions AS
SELECT s.job_id AS chain_id, s.pipeline AS chain_name,
  CASE s.status WHEN 'pending' THEN 'PENDING' WHEN 'running' THEN 'RUNNING' WHEN 'completed' THEN 'SUCCESS'
                WHEN 'failed' THEN 'FAILURE' ELSE 'REVOKED' END AS status,
  jsonb_array_length(v.graph -> 'steps') AS total_tasks,
  (SELECT count(DISTINCT c.step) FROM rkyc.checkpoint c WHERE c.job_id = j.id)::int
    + CASE WHEN s.status = 'completed' THEN 1 ELSE 0 END AS completed_tasks,
  CASE WHEN s.status = 'failed' THEN 1 ELSE 0 END AS failed_tasks,
  s.started_at, s.finished_at, j.metadata ->> 'initiated_by' AS initiated_by, j.input AS input_data,
  h.result AS final_result, s.error_message
FROM rkyc.job j
JOIN rkyc.job_status s ON s.job_id = j.uuid
JOIN rkyc.pipeline_version v ON v.name = j.pipeline AND v.version = j.version
LEFT JOIN rkyc.history h ON h.job_id = j.id;

CREATE VIEW rkyc.task_logs AS
SELECT s.job_id || ':' || s.step AS task_id, s.step AS task_name,
  CASE s.status WHEN 'pending' THEN CASE WHEN s.attempt > 0 THEN 'RETRY' ELSE 'PENDING' END WHEN 'running' THEN 'STARTED'
                WHEN 'completed' THEN 'SUCCESS' WHEN 'failed' THEN 'FAILURE' ELSE 'REVOKED' END AS status,
  left(s.error_code, 512) AS error, s.started_at, s.finished_at, greatest(s.attempt - 1, 0) AS retries,
  s.job_id AS chain_execution
FROM rkyc.step_status s;

CREATE VIEW rkyc.queue_depth AS
SELECT t.lane, j.pipeline,
  count(*) FILTER (WHERE t.kind = 'ready')::int AS ready,
  count(*) FILTER (WHERE t.kind = 'running')::int AS running,
  count(*) FILTER (WHERE t.kind = 'scheduled')::int AS scheduled,
  count(*) FILTER (WHERE t.kind = 'waiting')::int AS waiting,
  coalesce(extract(epoch FROM clock_timestamp() - min(j.created_at) FILTER (WHERE t.kind = 'ready')), 0)::float8 AS oldest_seconds
FROM (
  SELECT lane, job_id, 'ready' AS kind FROM rkyc.ready
  UNION ALL SELECT lane, job_id, 'running' FROM rkyc.running
  UNION ALL SELECT lane, job_id, 'scheduled' FROM rkyc.scheduled
  UNION ALL SELECT lane, job_id, 'waiting' FROM rkyc.waiting
) t JOIN rkyc.job j ON j.id = t.job_id
GROUP BY t.lane, j.pipeline;

CREATE VIEW rkyc.dlq_depth AS
SELECT queue, count(*) FILTER (WHERE state = 'dead')::int AS dead, count(*) FILTER (WHERE state = 'archived')::int AS archived,
  min(at) FILTER (WHERE state = 'dead') AS oldest_at
FROM rkyc.dead_letter GROUP BY queue;

CREATE VIEW rkyc.worker_status AS
SELECT name AS worker, host, pid, version, lanes, slots, busy, started_at, beat_at,
  ended_at IS NULL AND beat_at > clock_timestamp() - interval '120 s' AS alive, id
FROM rkyc.worker;
