-- Paused lanes, pipelines and tenants, and where a paused task goes back to. Locks `waiting` against everyone
-- for a moment.

-- One row per thing that is paused. A resumed one stays for a while: a worker that had not heard of it yet may
-- still hold a task back, which the others then find by its key.
CREATE TABLE rkyc.pause (
  kind text NOT NULL CHECK (kind IN ('lane', 'pipeline', 'tenant')),
  name text NOT NULL CHECK (length(name) BETWEEN 1 AND 255),
  reason text CHECK (length(reason) <= 500),
  paused_by text NOT NULL,
  since timestamptz NOT NULL,
  resumed_at timestamptz,
  PRIMARY KEY (kind, name)
);

-- A task of a paused job that was scheduled: not before then. NULL: at once.
ALTER TABLE rkyc.waiting ADD COLUMN resume_at timestamptz, ADD COLUMN resume_reason text;

CREATE VIEW rkyc.pause_status AS SELECT kind, name, reason, paused_by, since FROM rkyc.pause WHERE resumed_at IS NULL;

-- As before, but that a queued task of something paused says so.
CREATE OR REPLACE VIEW rkyc.job_status AS
SELECT
  j.uuid AS job_id, j.pipeline, j.version, j.lane, l.rank AS priority,
  (CASE WHEN h.job_id IS NOT NULL THEN h.state WHEN r.job_id IS NOT NULL THEN 'running' ELSE 'pending' END)::rkyc.job_state AS status,
  CASE WHEN h.job_id IS NULL AND r.job_id IS NULL THEN CASE WHEN p.name IS NULL THEN w.wait_reason ELSE 'paused' END END AS wait_reason,
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
  w.due_at, coalesce(p.kind || ':' || p.name, w.wake_key) AS wake_key,
  CASE WHEN h.job_id IS NULL AND r.job_id IS NULL THEN
    CASE WHEN p.name IS NULL THEN w.detail
    ELSE p.kind || ' ' || p.name || ' is paused by ' || p.paused_by || ' since '
      || to_char(p.since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SSZ') || coalesce(': ' || p.reason, '') END END AS wait_detail
FROM rkyc.job j
LEFT JOIN rkyc.lane l ON l.name = j.lane
LEFT JOIN rkyc.history h ON h.job_id = j.id
LEFT JOIN LATERAL (SELECT * FROM rkyc.running_task r WHERE r.job_id = j.id ORDER BY r.branch LIMIT 1) r ON h.job_id IS NULL
LEFT JOIN LATERAL (SELECT * FROM rkyc.waiting_task w WHERE w.job_id = j.id ORDER BY w.branch LIMIT 1) w ON h.job_id IS NULL
LEFT JOIN LATERAL (
  SELECT p.* FROM rkyc.pause p WHERE p.resumed_at IS NULL AND (p.kind, p.name) IN (
    ('lane', w.lane), ('pipeline', j.pipeline), ('tenant', j.traits ->> 'tenant')) ORDER BY p.kind LIMIT 1
) p ON w.wait_reason IN ('queued', 'fair') OR (w.wait_reason = 'paused' AND w.wake_key = p.kind || ':' || p.name)
LEFT JOIN LATERAL (
  SELECT max(c.finished_at) AS last_at, bool_or(c.degraded) AS degraded,
    (SELECT sum((s ->> 'share')::numeric) FROM rkyc.pipeline_version v, jsonb_array_elements(v.graph -> 'steps') s
     WHERE v.name = j.pipeline AND v.version = j.version AND s ->> 'name' = ANY (array_agg(c.step))) AS share,
    (SELECT jsonb_object_agg(m.key, m.value ORDER BY m.seq)
     FROM (SELECT c2.seq, e.key, e.value FROM rkyc.checkpoint c2, jsonb_each(c2.metadata) e WHERE c2.job_id = j.id) m) AS metadata
  FROM rkyc.checkpoint c WHERE c.job_id = j.id
) done ON true
LEFT JOIN rkyc.worker k ON k.id = coalesce(h.worker_id, r.worker_id);

-- Why: a queued task of something paused is paused, and the remedy names it.
INSERT INTO rkyc.reason VALUES ('held', '{held} {held_name} is paused by {by} since {held_since}{because}', 'rkyc {held}s resume {held_name}');
UPDATE rkyc.reason SET remedy = 'rkyc jobs resume {job}' WHERE name = 'paused';

ALTER FUNCTION rkyc.why(uuid) RENAME TO why_unheld;
CREATE FUNCTION rkyc.why(job uuid) RETURNS TABLE (reason text, why text, remedy text, facts jsonb) LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN p.name IS NULL THEN w.reason ELSE 'paused' END,
    CASE WHEN p.name IS NULL THEN w.why ELSE rkyc.fill_in(m.why, f.facts) END,
    CASE WHEN p.name IS NULL THEN w.remedy ELSE rkyc.fill_in(m.remedy, f.facts) END, f.facts
  FROM rkyc.why_unheld(job) w
  JOIN rkyc.job j ON j.uuid = job
  JOIN rkyc.reason m ON m.name = 'held'
  LEFT JOIN LATERAL (
    SELECT p.* FROM rkyc.pause p WHERE p.resumed_at IS NULL AND (p.kind, p.name) IN (
      ('lane', w.facts ->> 'lane'), ('pipeline', j.pipeline), ('tenant', j.traits ->> 'tenant')) ORDER BY p.kind LIMIT 1
  ) p ON w.reason IN ('queued', 'fair', 'lane_unserved', 'slots_busy') OR (w.reason = 'paused' AND w.facts ->> 'key' = p.kind || ':' || p.name)
  CROSS JOIN LATERAL (
    SELECT CASE WHEN p.name IS NULL THEN w.facts ELSE w.facts || jsonb_build_object('held', p.kind, 'held_name', p.name, 'by', p.paused_by,
      'held_since', rkyc.say_time(p.since), 'because', coalesce(': ' || p.reason, '')) END AS facts
  ) f
$$;
