-- name: hold_tasks
-- running -> waiting: what it needs is not there; the attempt is not charged
WITH held AS MATERIALIZED (
  SELECT r.*, d.*
  FROM unnest(:job_ids::bigint[], :branches::int[], :fences::bigint[], :kinds::text[], :wake_keys::text[], :due_ats::timestamptz[],
              :details::text[], :matches::text[], :lanes::text[], :steps::text[], :events::int[], :error_attempts::int[], :crash_attempts::int[],
              :alone_crashes::int[], :step_started_ats::float8[])
    AS d(job_id, branch, fence, kind, wake_key, due_at, detail, match, lane, step, events, error_attempts, crash_attempts, alone_crashes,
         step_started_at)
  CROSS JOIN LATERAL (
    SELECT r.ctid AS place, r.started_at FROM rkyc.running r
    WHERE r.job_id = d.job_id AND r.branch = d.branch AND r.fence = d.fence FOR UPDATE
  ) r
), gone AS (
  DELETE FROM rkyc.running WHERE ctid = ANY (ARRAY(SELECT place FROM held))
)
INSERT INTO rkyc.waiting (kind, wake_key, due_at, detail, match, lane, job_id, branch, step, events, error_attempts, crash_attempts,
                          alone_crashes, started_at, step_started_at, since)
SELECT kind, wake_key, due_at, detail, match::jsonb, lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes,
  started_at, to_timestamp(step_started_at), :now FROM held
RETURNING job_id, branch;

-- name: wake_tasks
-- waiting -> ready, those first that wait longest. Who is being woken by another is passed over: two that wake one
-- each wake two.
WITH picked AS MATERIALIZED (
  SELECT w.ctid AS place FROM rkyc.waiting w WHERE w.kind = :kind AND w.wake_key = :wake_key ORDER BY w.since LIMIT :limit
  FOR UPDATE SKIP LOCKED
), gone AS (
  DELETE FROM rkyc.waiting WHERE ctid = ANY (ARRAY(SELECT place FROM picked)) RETURNING *
)
INSERT INTO rkyc.ready (lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at)
SELECT lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at
FROM gone ORDER BY since
RETURNING lane;

-- name: wake_task
-- waiting -> ready, one task; the hint is sent at the commit
WITH gone AS (
  DELETE FROM rkyc.waiting WHERE job_id = :job_id AND branch = :branch RETURNING *
), moved AS (
  INSERT INTO rkyc.ready (lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at)
  SELECT lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at
  FROM gone RETURNING lane
)
SELECT lane, pg_notify('rkyc_wake', lane) AS told FROM moved;

-- name: promote_due_waits
-- waiting -> ready: the time is up, whatever it waited for
WITH picked AS MATERIALIZED (
  SELECT w.ctid AS place FROM rkyc.waiting w WHERE w.due_at <= :now ORDER BY w.due_at LIMIT 1000 FOR UPDATE SKIP LOCKED
), gone AS (
  DELETE FROM rkyc.waiting WHERE ctid = ANY (ARRAY(SELECT place FROM picked)) RETURNING *
), moved AS (
  INSERT INTO rkyc.ready (lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at)
  SELECT lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at
  FROM gone ORDER BY due_at RETURNING lane
)
SELECT DISTINCT lane FROM moved;
