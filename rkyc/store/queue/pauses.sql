-- name: add_pause
INSERT INTO rkyc.pause (kind, name, reason, paused_by, since) VALUES (:kind, :name, :reason, :paused_by, clock_timestamp())
ON CONFLICT (kind, name) DO UPDATE SET reason = excluded.reason, paused_by = excluded.paused_by, since = excluded.since, resumed_at = NULL
WHERE rkyc.pause.resumed_at IS NOT NULL
RETURNING name;

-- name: end_pause
UPDATE rkyc.pause SET resumed_at = clock_timestamp() WHERE kind = :kind AND name = :name AND resumed_at IS NULL RETURNING name;

-- name: list_pauses
SELECT kind, name, reason, paused_by, since FROM rkyc.pause_status ORDER BY kind, name;

-- name: list_names
-- What may be paused; NULL: any name.
SELECT CASE :kind::text WHEN 'lane' THEN ARRAY(SELECT l.name FROM rkyc.lane l ORDER BY l.rank, l.name)
  WHEN 'pipeline' THEN ARRAY(SELECT DISTINCT v.name FROM rkyc.pipeline_version v ORDER BY v.name) END;

-- name: forget_pauses
-- No worker that still believed in one holds a lease any more, and no task waits for it.
DELETE FROM rkyc.pause p WHERE p.resumed_at < clock_timestamp() - make_interval(secs => :kept_s::float8)
  AND NOT EXISTS (SELECT FROM rkyc.waiting w WHERE w.kind = 'paused' AND w.wake_key = p.kind || ':' || p.name);

-- name: pause_job
-- ready, running, scheduled, waiting -> waiting. Of the leases only those that were locked before: one that was claimed
-- since may have a checkpoint under way that this snapshot would miss.
WITH a AS (
  DELETE FROM rkyc.ready WHERE job_id = :job_id
  RETURNING job_id, branch, lane, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at,
    NULL::bigint AS fence, NULL::timestamptz AS resume_at, NULL::text AS resume_reason
), b AS (
  DELETE FROM rkyc.running WHERE job_id = :job_id AND fence = ANY (:fences::bigint[])
  RETURNING job_id, branch, lane, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at,
    fence, NULL::timestamptz, NULL::text
), c AS (
  DELETE FROM rkyc.scheduled WHERE job_id = :job_id
  RETURNING job_id, branch, lane, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at,
    NULL::bigint, due_at, reason
), d AS (
  DELETE FROM rkyc.waiting WHERE job_id = :job_id AND wake_key <> 'job:' || :uuid::uuid
  RETURNING job_id, branch, lane, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at,
    NULL::bigint, resume_at, resume_reason
)
INSERT INTO rkyc.waiting (kind, wake_key, detail, lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes,
                          started_at, step_started_at, since, resume_at, resume_reason)
SELECT 'paused', 'job:' || :uuid::uuid, :detail, t.lane, t.job_id, t.branch, coalesce(c.next_step, t.step),
  greatest(t.events, coalesce(c.seq, 0)), CASE WHEN c.seq IS NULL THEN t.error_attempts ELSE 0 END,
  CASE WHEN c.seq IS NULL THEN t.crash_attempts ELSE 0 END, CASE WHEN c.seq IS NULL THEN t.alone_crashes ELSE 0 END,
  t.started_at, CASE WHEN c.seq IS NULL THEN t.step_started_at END, clock_timestamp(), t.resume_at, t.resume_reason
FROM (TABLE a UNION ALL TABLE b UNION ALL TABLE c UNION ALL TABLE d) t
LEFT JOIN LATERAL (
  SELECT c.next_step, c.seq FROM rkyc.checkpoint c
  WHERE c.job_id = t.job_id AND c.branch = t.branch AND c.fence = t.fence ORDER BY c.seq DESC LIMIT 1
) c ON true
RETURNING branch;

-- name: find_unpaused
-- A task that moved from one table to another meanwhile.
SELECT 'moving' AS kind FROM rkyc.ready WHERE job_id = :job_id
UNION ALL SELECT 'moving' FROM rkyc.running WHERE job_id = :job_id
UNION ALL SELECT 'moving' FROM rkyc.scheduled WHERE job_id = :job_id
UNION ALL SELECT 'moving' FROM rkyc.waiting WHERE job_id = :job_id AND wake_key <> 'job:' || :uuid::uuid
-- Or none at all: it has just ended, or all of it was between two tables.
UNION ALL SELECT 'gone' WHERE NOT EXISTS (SELECT FROM rkyc.waiting WHERE job_id = :job_id AND wake_key = 'job:' || :uuid::uuid);

-- name: list_kept_places
-- A job that stands in a line with others keeps its place there.
SELECT kind FROM rkyc.waiting WHERE job_id = :job_id AND kind IN ('turn', 'batch', 'map') LIMIT 1;

-- name: resume_job
-- waiting -> ready, or scheduled where its time has not come; what has not begun waits for the turn of its key again
WITH gone AS (
  DELETE FROM rkyc.waiting WHERE job_id = :job_id AND kind = 'paused' AND wake_key = 'job:' || :uuid::uuid RETURNING *
), later AS (
  INSERT INTO rkyc.scheduled (due_at, reason, lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes,
                              started_at, step_started_at)
  SELECT resume_at, resume_reason, lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes,
    started_at, step_started_at FROM gone WHERE resume_at > clock_timestamp()
  RETURNING lane
), due AS (
  SELECT g.*, CASE WHEN g.started_at IS NULL THEN j.traits ->> 'fair_key' END AS fair_key
  FROM gone g CROSS JOIN LATERAL (SELECT j.traits FROM rkyc.job j WHERE j.id = g.job_id OFFSET 0) j
  WHERE g.resume_at IS NULL OR g.resume_at <= clock_timestamp()
), in_line AS (
  INSERT INTO rkyc.waiting (kind, wake_key, detail, lane, job_id, branch, step, events, since)
  SELECT 'fair', fair_key, 'a turn of ' || fair_key, lane, job_id, branch, step, events, clock_timestamp() FROM due WHERE fair_key IS NOT NULL
  RETURNING lane
), now_ready AS (
  INSERT INTO rkyc.ready (lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at)
  SELECT lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at
  FROM due WHERE fair_key IS NULL
  RETURNING lane
)
SELECT lane FROM now_ready UNION SELECT 'fair:' FROM in_line UNION SELECT 'due' FROM later;
