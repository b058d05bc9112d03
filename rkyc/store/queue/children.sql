-- name: find_child
-- Run after lock_lease in one transaction: a child that an earlier try started is seen here.
SELECT c.child_uuid FROM rkyc.child c WHERE c.parent_id = :parent_id AND c.step = :step AND c.branch = :branch AND c.name = :name;

-- name: add_child
-- In the transaction that enqueues the child: it is started and remembered, or neither.
WITH new AS (
  INSERT INTO rkyc.child (parent_id, step, branch, name, child_id, child_uuid, on_parent_end, spawned_at)
  SELECT :parent_id, :step, :branch, :name, j.id, j.uuid, :on_parent_end, :now FROM rkyc.job j WHERE j.uuid = :child_uuid
  RETURNING child_uuid
)
INSERT INTO rkyc.journal (job_id, step, branch, name, answer, ms, worker_id, at)
SELECT :parent_id, :step, :branch, :name, jsonb_build_object('job_id', n.child_uuid), 0, :worker_id, :now FROM new n
RETURNING job_id;

-- name: read_child
SELECT c.state, e.result, e.error_code, e.error_message
FROM rkyc.child c
LEFT JOIN LATERAL (SELECT h.result, h.error_code, h.error_message FROM rkyc.history h WHERE h.job_id = c.child_id OFFSET 0) e ON true
WHERE c.child_uuid = :child_uuid;

-- name: list_open_children
SELECT c.child_uuid FROM rkyc.child c WHERE c.parent_id = :parent_id AND c.branch = :branch AND c.step = :step AND c.state IS NULL;

-- name: has_child_ended
SELECT EXISTS (SELECT FROM rkyc.child c WHERE c.child_uuid = :child_uuid AND c.state IS NOT NULL);

-- name: end_child
UPDATE rkyc.child SET state = :state, ended_at = :now WHERE child_id = :child_id
RETURNING parent_id, step, branch, child_uuid;

-- name: wake_parent
-- waiting -> ready. Run after the parent's row was locked: whether any other is open is seen by one of the last two.
WITH gone AS (
  DELETE FROM rkyc.waiting w
  WHERE w.job_id = :parent_id AND w.branch = :branch AND w.kind = 'child'
    AND (w.wake_key = :child_uuid::uuid::text
      OR (w.wake_key = '*' AND NOT EXISTS (
        SELECT FROM rkyc.child c WHERE c.parent_id = :parent_id AND c.branch = :branch AND c.step = :step AND c.state IS NULL)))
  RETURNING *
)
INSERT INTO rkyc.ready (lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at)
SELECT lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at FROM gone
RETURNING lane;

-- name: list_orphans
-- Children that are to be cancelled since their parent failed or was cancelled, and has not been started again, or since
-- it was moved to a version that lacks the step which started them (branch < 0).
-- One that is being undone was cancelled already: a second time would stop that.
SELECT c.child_uuid
FROM rkyc.orphaned o
CROSS JOIN LATERAL (
  SELECT c.child_uuid FROM rkyc.child c
  WHERE c.parent_id = o.parent_id AND c.state IS NULL AND c.on_parent_end = 'cancel'
    AND (c.branch < 0 OR (SELECT h.state FROM rkyc.history h WHERE h.job_id = o.parent_id) <> 'completed')
    AND (SELECT true FROM rkyc.undoing_task u WHERE u.job_id = c.child_id LIMIT 1) IS NULL
  OFFSET 0
) c
LIMIT :limit;

-- name: has_orphaned
SELECT EXISTS (SELECT FROM rkyc.orphaned);

-- name: drop_orphaned
-- Parents none of whose children is left to be cancelled. One that has not ended may still fail: its note stays.
DELETE FROM rkyc.orphaned o
WHERE NOT EXISTS (
  SELECT FROM rkyc.child c WHERE c.parent_id = o.parent_id AND c.state IS NULL AND c.on_parent_end = 'cancel'
    AND (c.branch < 0 OR (SELECT h.state FROM rkyc.history h WHERE h.job_id = o.parent_id) IS DISTINCT FROM 'completed'));
