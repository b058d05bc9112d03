-- name: claim_tasks
-- ready -> running
-- `after` is the cursor of the lane: what lies below it is dead rows only (see flow/cursor.py).
WITH picked AS MATERIALIZED (
  SELECT r.ctid AS place FROM rkyc.ready r
  WHERE r.lane = :lane AND r.seq > :after ORDER BY r.seq LIMIT :slots
  FOR UPDATE SKIP LOCKED
), taken AS (
  -- By ctid: a plan made while the table was empty stays good when it is full.
  DELETE FROM rkyc.ready WHERE ctid = ANY (ARRAY(SELECT place FROM picked)) RETURNING *
), leased AS (
  INSERT INTO rkyc.running (job_id, branch, fence, worker_id, lane, step, events, error_attempts, crash_attempts,
                            alone_crashes, started_at, step_started_at, claimed_at)
  SELECT job_id, branch, seq, :worker_id, lane, step, events, error_attempts, crash_attempts, alone_crashes,
         coalesce(started_at, :now), coalesce(step_started_at, :now), :now
  FROM taken
)
-- One row without a task when nothing was claimed: the cursor needs the snapshot's bounds even then.
-- `bound`: an xid drawn after the snapshot, so that whoever drew a lower number has a lower xid.
SELECT pg_snapshot_xmin(s.s)::text::bigint AS xmin,
  CASE WHEN t.seq IS NULL THEN 0 ELSE pg_current_xact_id()::text::bigint + 1 END AS bound,
  t.job_id, t.branch, t.seq AS fence, t.lane, t.step, t.events, t.error_attempts, t.crash_attempts, t.alone_crashes,
  date_part('epoch', coalesce(t.step_started_at, :now)) AS step_started_at,
  j.uuid, j.pipeline, j.version, j.input,
  -- One that no client can read is none.
  CASE WHEN j.deadline_at < '9999-12-31' THEN j.deadline_at END AS deadline_at,
  CASE WHEN t.events > 0 THEN rkyc.outputs_of(t.job_id, t.branch) END AS outputs, t.started_at IS NULL AS is_fresh,
  j.lane AS job_lane, j.traits
FROM pg_current_snapshot() s(s) LEFT JOIN taken t ON true
LEFT JOIN LATERAL (SELECT * FROM rkyc.job j WHERE j.id = t.job_id OFFSET 0) j ON true
ORDER BY t.seq;

-- name: claim_parked_tasks
-- waiting -> running: rows that another worker could not serve and this one can
WITH picked AS MATERIALIZED (
  SELECT w.ctid AS place FROM rkyc.waiting w
  WHERE w.kind IN ('no_worker', 'version_blocked') AND w.wake_key = ANY (:wake_keys::text[]) AND w.lane = ANY (:lanes::text[])
  LIMIT :slots FOR UPDATE SKIP LOCKED
), taken AS (
  DELETE FROM rkyc.waiting WHERE ctid = ANY (ARRAY(SELECT place FROM picked)) RETURNING *, nextval('rkyc.ready_seq') AS seq
), leased AS (
  INSERT INTO rkyc.running (job_id, branch, fence, worker_id, lane, step, events, error_attempts, crash_attempts,
                            alone_crashes, started_at, step_started_at, claimed_at)
  SELECT job_id, branch, seq, :worker_id, lane, step, events, error_attempts, crash_attempts, alone_crashes,
         coalesce(started_at, :now), coalesce(step_started_at, :now), :now
  FROM taken
)
SELECT t.job_id, t.branch, t.seq AS fence, t.lane, t.step, t.events, t.error_attempts, t.crash_attempts, t.alone_crashes,
  date_part('epoch', coalesce(t.step_started_at, :now)) AS step_started_at,
  j.uuid, j.pipeline, j.version, j.input, CASE WHEN j.deadline_at < '9999-12-31' THEN j.deadline_at END AS deadline_at,
  rkyc.outputs_of(t.job_id, t.branch) AS outputs, t.started_at IS NULL AS is_fresh, j.lane AS job_lane, j.traits
FROM taken t CROSS JOIN LATERAL (SELECT * FROM rkyc.job j WHERE j.id = t.job_id OFFSET 0) j;

-- name: claim_suspect
-- waiting -> running, one at a time, in a process set aside
WITH picked AS MATERIALIZED (
  SELECT w.ctid AS place FROM rkyc.waiting w WHERE w.kind = 'suspect' AND w.wake_key = ANY (:wake_keys::text[]) AND w.lane = ANY (:lanes::text[])
  ORDER BY w.since LIMIT 1 FOR UPDATE SKIP LOCKED
), taken AS (
  DELETE FROM rkyc.waiting WHERE ctid = ANY (ARRAY(SELECT place FROM picked)) RETURNING *, nextval('rkyc.ready_seq') AS seq
), leased AS (
  INSERT INTO rkyc.running (job_id, branch, fence, worker_id, lane, step, events, error_attempts, crash_attempts,
                            alone_crashes, alone, started_at, step_started_at, claimed_at)
  SELECT job_id, branch, seq, :worker_id, lane, step, events, error_attempts, crash_attempts, alone_crashes, true,
         coalesce(started_at, :now), coalesce(step_started_at, :now), :now
  FROM taken
)
SELECT t.job_id, t.branch, t.seq AS fence, t.lane, t.step, t.events, t.error_attempts, t.crash_attempts, t.alone_crashes,
  date_part('epoch', coalesce(t.step_started_at, :now)) AS step_started_at,
  j.uuid, j.pipeline, j.version, j.input, CASE WHEN j.deadline_at < '9999-12-31' THEN j.deadline_at END AS deadline_at,
  rkyc.outputs_of(t.job_id, t.branch) AS outputs, t.started_at IS NULL AS is_fresh, j.lane AS job_lane, j.traits
FROM taken t CROSS JOIN LATERAL (SELECT * FROM rkyc.job j WHERE j.id = t.job_id OFFSET 0) j;

-- name: release_tasks
-- running -> ready: drained, or bound for another lane; the attempt is not charged
WITH held AS (
  SELECT r.ctid AS place, d.lane, d.step, d.events, d.error_attempts, d.crash_attempts
  FROM unnest(:job_ids::bigint[], :branches::int[], :fences::bigint[], :lanes::text[], :steps::text[], :events::int[],
              :error_attempts::int[], :crash_attempts::int[])
    AS d(job_id, branch, fence, lane, step, events, error_attempts, crash_attempts)
  CROSS JOIN LATERAL (
    SELECT r.ctid FROM rkyc.running r WHERE r.job_id = d.job_id AND r.branch = d.branch AND r.fence = d.fence FOR UPDATE
  ) r
), gone AS (
  DELETE FROM rkyc.running r USING held h WHERE r.ctid = h.place
  RETURNING r.job_id, r.branch, r.started_at, r.step_started_at, r.step AS old_step, r.alone_crashes,
            h.lane, h.step, h.events, h.error_attempts, h.crash_attempts
)
INSERT INTO rkyc.ready (lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at)
SELECT lane, job_id, branch, step, events, error_attempts, crash_attempts, CASE WHEN step = old_step THEN alone_crashes ELSE 0 END,
  started_at, CASE WHEN step = old_step THEN step_started_at END FROM gone
RETURNING job_id, branch;

-- name: lock_orphans
-- A statement of its own, before release_orphans in one transaction: see lock_tasks_of_workers.
SELECT r.job_id FROM unnest(:job_ids::bigint[], :branches::int[], :fences::bigint[]) AS d(job_id, branch, fence)
JOIN rkyc.running r ON r.job_id = d.job_id AND r.branch = d.branch AND r.fence = d.fence
ORDER BY r.job_id, r.branch FOR UPDATE OF r;

-- name: release_orphans
-- running -> ready: leases that their own worker knows nothing of (a claim whose answer was lost), each at
-- its last checkpoint
WITH gone AS (
  DELETE FROM rkyc.running r USING unnest(:job_ids::bigint[], :branches::int[], :fences::bigint[]) AS d(job_id, branch, fence)
  WHERE r.job_id = d.job_id AND r.branch = d.branch AND r.fence = d.fence AND r.worker_id = :worker_id RETURNING r.*
)
INSERT INTO rkyc.ready (lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at)
SELECT g.lane, g.job_id, g.branch, coalesce(c.next_step, g.step), greatest(g.events, coalesce(c.seq, 0)),
  CASE WHEN c.seq IS NULL THEN g.error_attempts ELSE 0 END, CASE WHEN c.seq IS NULL THEN g.crash_attempts ELSE 0 END,
  CASE WHEN c.seq IS NULL THEN g.alone_crashes ELSE 0 END, g.started_at, CASE WHEN c.seq IS NULL THEN g.step_started_at END
FROM gone g
LEFT JOIN LATERAL (
  SELECT c.next_step, c.seq FROM rkyc.checkpoint c
  WHERE c.job_id = g.job_id AND c.branch = g.branch AND c.fence = g.fence ORDER BY c.seq DESC LIMIT 1
) c ON true
RETURNING job_id;

-- name: promote_due_tasks
-- scheduled -> ready
WITH picked AS MATERIALIZED (
  SELECT s.ctid AS place FROM rkyc.scheduled s WHERE s.due_at <= :now ORDER BY s.due_at LIMIT 1000 FOR UPDATE SKIP LOCKED
), gone AS (
  DELETE FROM rkyc.scheduled WHERE ctid = ANY (ARRAY(SELECT place FROM picked)) RETURNING *
), moved AS (
  INSERT INTO rkyc.ready (lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at)
  SELECT lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at
  FROM gone ORDER BY due_at RETURNING lane
)
SELECT DISTINCT lane FROM moved;

-- name: find_oldest_lane
-- The lane whose first row has waited longest, whatever its rank.
SELECT l.lane FROM unnest(:lanes::text[], :afters::bigint[]) AS l(lane, after)
CROSS JOIN LATERAL (SELECT r.seq FROM rkyc.ready r WHERE r.lane = l.lane AND r.seq > l.after ORDER BY r.seq LIMIT 1) r
ORDER BY r.seq LIMIT 1;

-- name: list_held_tasks
SELECT job_id, branch, fence FROM rkyc.running WHERE worker_id = :worker_id;
