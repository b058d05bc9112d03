-- Tasks that wait for anything: a time that wakes them anyway, and a line that says what for. Rare properties of a job.
-- Locks `waiting` against everyone while its index is built anew, and `job` for a moment.

ALTER TABLE rkyc.job ADD COLUMN traits jsonb;

-- What a task may wait for stands in rkyc/flow/states.py.
ALTER TABLE rkyc.waiting DROP CONSTRAINT waiting_kind_check, ADD COLUMN due_at timestamptz, ADD COLUMN detail text;
CREATE INDEX waiting_due ON rkyc.waiting (due_at) WHERE due_at IS NOT NULL;
-- Of those under one key, the one that waits longest is woken first.
DROP INDEX rkyc.waiting_key;
CREATE INDEX waiting_key ON rkyc.waiting (kind, wake_key, since);

CREATE OR REPLACE VIEW rkyc.waiting_task AS
  SELECT job_id, branch, lane, step, error_attempts, crash_attempts, started_at, 'queued' AS wait_reason,
         NULL::text AS wake_key, NULL::timestamptz AS due_at, NULL::text AS error_code, NULL::text AS error_message, NULL::text AS detail
  FROM rkyc.ready
UNION ALL
  SELECT job_id, branch, lane, step, error_attempts, crash_attempts, started_at, reason, NULL, due_at, error_code, error_message, NULL
  FROM rkyc.scheduled
UNION ALL
  SELECT job_id, branch, lane, step, error_attempts, crash_attempts, started_at, kind, wake_key, due_at, NULL, NULL, detail
  FROM rkyc.waiting;

CREATE OR REPLACE VIEW rkyc.job_status AS
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
  w.due_at, w.wake_key,
  CASE WHEN h.job_id IS NULL AND r.job_id IS NULL THEN w.detail END AS wait_detail
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
