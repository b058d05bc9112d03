-- name: advance_tasks
-- running -> running: checkpoint N, which is the start of N + 1. An array may be left empty: no branch, the first attempt, no notes.
WITH done AS (
  SELECT * FROM unnest(:job_ids::bigint[], :branches::int[], :fences::bigint[], :seqs::int[], :steps::text[], :next_steps::text[],
                       :attempts::int[], :outputs::text[], :degraded::bool[], :warnings::text[], :metadata::text[],
                       :started_ats::float8[])
    AS d(job_id, branch, fence, seq, step, next_step, attempt, output, degraded, warnings, metadata, started_at)
)
INSERT INTO rkyc.checkpoint (job_id, seq, branch, step, next_step, attempt, fence, worker_id, output, degraded, warnings, metadata,
                             started_at, finished_at)
SELECT d.job_id, d.seq, coalesce(d.branch, 0), d.step, d.next_step, coalesce(d.attempt, 1), d.fence, :worker_id, d.output::jsonb,
  coalesce(d.degraded, false), d.warnings::jsonb, d.metadata::jsonb, to_timestamp(d.started_at), :now
FROM done d
-- FOR SHARE: a reclaim that commits meanwhile must wait or be seen; a plain join would miss it.
CROSS JOIN LATERAL (
  SELECT 1 FROM rkyc.running r WHERE r.job_id = d.job_id AND r.branch = coalesce(d.branch, 0) AND r.fence = d.fence FOR SHARE
) held;

-- name: advance_task
-- The same for one: without arrays it takes a fifth less of the server and a third less of the process.
INSERT INTO rkyc.checkpoint (job_id, seq, branch, step, next_step, attempt, fence, worker_id, output, degraded, warnings, metadata,
                             started_at, finished_at)
SELECT job_id, :seq, branch, :step, :next_step, :attempt, fence, :worker_id, :output::jsonb, :degraded, :warnings::jsonb, :metadata::jsonb,
  to_timestamp(:step_started_at::float8), :now
FROM rkyc.running WHERE job_id = :job_id AND branch = :branch AND fence = :fence FOR SHARE;

-- name: finish_tasks
-- running -> completed: the last output goes to history alone
WITH held AS MATERIALIZED (
  SELECT r.*, d.*
  FROM unnest(:job_ids::bigint[], :branches::int[], :fences::bigint[], :seqs::int[], :steps::text[], :attempts::int[], :outputs::text[],
              :degraded::bool[], :warnings::text[], :metadata::text[], :started_ats::float8[])
    AS d(job_id, branch, fence, seq, step, attempt, output, degraded, warnings, metadata, step_started_at)
  CROSS JOIN LATERAL (
    SELECT r.ctid AS place, r.started_at AS job_started_at FROM rkyc.running r
    WHERE r.job_id = d.job_id AND r.branch = coalesce(d.branch, 0) AND r.fence = d.fence FOR UPDATE
  ) r
), gone AS (
  DELETE FROM rkyc.running WHERE ctid = ANY (ARRAY(SELECT place FROM held))
)
INSERT INTO rkyc.history (job_id, state, seq, branch, step, attempt, fence, worker_id, result, degraded, warnings, metadata,
                          started_at, step_started_at, finished_at)
SELECT job_id, 'completed', seq, coalesce(branch, 0), step, coalesce(attempt, 1), fence, :worker_id, output::jsonb, coalesce(degraded, false),
  warnings::jsonb, metadata::jsonb, job_started_at, to_timestamp(step_started_at), :now
FROM held;

-- name: finish_task
-- The same for one.
WITH held AS (
  DELETE FROM rkyc.running WHERE job_id = :job_id AND branch = :branch AND fence = :fence RETURNING *
)
INSERT INTO rkyc.history (job_id, state, seq, branch, step, attempt, fence, worker_id, result, degraded, warnings, metadata,
                          started_at, step_started_at, finished_at)
SELECT job_id, 'completed', :seq, branch, :step, :attempt, fence, :worker_id, :output::jsonb, :degraded, :warnings::jsonb, :metadata::jsonb,
  started_at, to_timestamp(:step_started_at::float8), :now
FROM held;

-- name: retry_tasks
-- running -> scheduled
WITH held AS MATERIALIZED (
  SELECT r.*, d.*
  FROM unnest(:job_ids::bigint[], :branches::int[], :fences::bigint[], :seqs::int[], :lanes::text[], :steps::text[], :due_ats::timestamptz[],
              :reasons::text[], :error_attempts::int[], :crash_attempts::int[], :attempts::int[], :error_codes::text[],
              :error_messages::text[], :step_started_ats::float8[])
    AS d(job_id, branch, fence, seq, lane, step, due_at, reason, error_attempts, crash_attempts, attempt, error_code, error_message,
         step_started_at)
  CROSS JOIN LATERAL (
    -- Crashes alone are those of the step that was claimed: a later one starts with a clean record.
    SELECT r.ctid AS place, r.started_at, CASE WHEN r.step = d.step THEN r.alone_crashes ELSE 0 END AS alone_crashes FROM rkyc.running r
    WHERE r.job_id = d.job_id AND r.branch = d.branch AND r.fence = d.fence FOR UPDATE
  ) r
), gone AS (
  DELETE FROM rkyc.running WHERE ctid = ANY (ARRAY(SELECT place FROM held))
), told AS (
  INSERT INTO rkyc.event (job_id, seq, type, branch, step, attempt, worker_id, data, at)
  SELECT job_id, seq, 'step.retrying', branch, step, attempt, :worker_id,
    jsonb_build_object('error_code', error_code, 'error', error_message, 'retry_at', due_at), :now
  FROM held
)
INSERT INTO rkyc.scheduled (due_at, reason, lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes,
                            started_at, step_started_at, error_code, error_message)
SELECT due_at, reason, lane, job_id, branch, step, seq, error_attempts, crash_attempts, alone_crashes, started_at, to_timestamp(step_started_at),
  error_code, error_message
FROM held
RETURNING job_id, branch;

-- name: lock_lease
-- The first statement of a transaction that a task has to itself.
SELECT job_id FROM rkyc.running WHERE job_id = :job_id AND branch = :branch AND fence = :fence FOR UPDATE;

-- name: bound_transaction
-- LOCAL: ends with the transaction, so a pooler's next client does not inherit it.
SELECT set_config('statement_timeout', :limit_ms::text, true), set_config('idle_in_transaction_session_timeout', :limit_ms::text, true);

-- name: avoid_scans
-- LOCAL, as above. A plan that was made while `waiting` was empty would scan it when it is full.
SELECT set_config('enable_seqscan', 'off', true);

-- name: fail_task
-- running -> failed; its dead letter is a statement of its own (`bury_job`) in the same transaction
WITH held AS (
  DELETE FROM rkyc.running WHERE job_id = :job_id AND branch = :branch AND fence = :fence RETURNING *
)
INSERT INTO rkyc.history (job_id, state, seq, branch, step, attempt, fence, worker_id, warnings, metadata, error_code, error_class,
                          error_message, error_details, error_attempts, crash_attempts, open_tasks, started_at, step_started_at, finished_at)
SELECT job_id, 'failed', :seq, branch, :step, :attempt, fence, :worker_id, :warnings::jsonb, :metadata::jsonb, :error_code,
  :error_class, :error_message, :error_details::jsonb, :error_attempts, :crash_attempts,
  jsonb_build_array(jsonb_build_object('branch', branch, 'step', :step::text, 'lane', :lane::text)) || :open_tasks::jsonb,
  started_at, to_timestamp(:step_started_at::float8), :now
FROM held
RETURNING job_id;

-- name: lock_branching
-- The lock and the counter of a job that forked; taken after the lease, before the sweep.
-- The greater one: before its fork a task counts by itself, also one that a person started again.
INSERT INTO rkyc.branching AS b (job_id, events) VALUES (:job_id, :events)
ON CONFLICT (job_id) DO UPDATE SET events = greatest(b.events + 1, excluded.events)
RETURNING events;

-- name: count_branching
-- The same of one that may have forked: before its fork there is no row, and its one task counts by itself.
UPDATE rkyc.branching SET events = greatest(events + 1, :events) WHERE job_id = :job_id RETURNING events;

-- name: drop_branching
WITH joins AS (DELETE FROM rkyc.join_point WHERE job_id = :job_id)
DELETE FROM rkyc.branching WHERE job_id = :job_id;

-- name: lock_leases
-- All leases of a job that forked, before its branching row: a commit holds its lease when it asks for
-- that row, so whoever ends the whole job must not hold the row and wait for leases.
SELECT branch, fence FROM rkyc.running WHERE job_id = :job_id ORDER BY branch FOR UPDATE;

-- name: sweep_tasks
-- ready, running, scheduled, waiting -> gone, all but the branch `kept`; run after lock_branching. A lease
-- that was taken since and is about to commit is passed over: waiting for it would be a deadlock.
-- `held`: an item of a map that waits for one before it.
WITH a AS (DELETE FROM rkyc.ready WHERE job_id = :job_id AND branch <> :kept RETURNING branch, step, lane, started_at, NULL::boolean AS held),
b AS (
  DELETE FROM rkyc.running WHERE ctid = ANY (ARRAY(
    SELECT r.ctid FROM rkyc.running r WHERE r.job_id = :job_id AND r.branch <> :kept AND :takes_leases::boolean FOR UPDATE SKIP LOCKED))
  RETURNING branch, step, lane, started_at, NULL::boolean),
c AS (DELETE FROM rkyc.scheduled WHERE job_id = :job_id AND branch <> :kept RETURNING branch, step, lane, started_at, NULL::boolean),
d AS (DELETE FROM rkyc.waiting WHERE job_id = :job_id AND branch <> :kept RETURNING branch, step, lane, started_at, nullif(kind = 'map', false))
SELECT t.branch, t.lane, t.started_at, t.held, coalesce(
    -- An item's by their own index: a walk through the job's checkpoints for each of a thousand takes too long.
    CASE WHEN t.branch < 131072 THEN
      (SELECT c.next_step FROM rkyc.checkpoint c WHERE c.job_id = :job_id AND c.branch = t.branch ORDER BY c.seq DESC LIMIT 1)
    ELSE
      (SELECT c.next_step FROM rkyc.checkpoint c WHERE c.job_id = :job_id AND c.branch = t.branch AND c.branch >= 131072 ORDER BY c.seq DESC LIMIT 1)
    END, t.step) AS step
FROM (TABLE a UNION ALL TABLE b UNION ALL TABLE c UNION ALL TABLE d) t;

-- name: has_tasks
-- In one snapshot a task stands in exactly one table; a sweep may miss one that moves meanwhile.
SELECT EXISTS (SELECT FROM rkyc.ready WHERE job_id = :job_id AND branch <> :kept)
  OR EXISTS (SELECT FROM rkyc.running WHERE job_id = :job_id AND branch <> :kept)
  OR EXISTS (SELECT FROM rkyc.scheduled WHERE job_id = :job_id AND branch <> :kept)
  OR EXISTS (SELECT FROM rkyc.waiting WHERE job_id = :job_id AND branch <> :kept);

-- name: fork_task
-- running -> ready, several: the task ends, its members begin
WITH held AS (
  DELETE FROM rkyc.running WHERE job_id = :job_id AND branch = :branch AND fence = :fence RETURNING *
), saved AS (
  INSERT INTO rkyc.checkpoint (job_id, seq, branch, step, attempt, fence, worker_id, output, degraded, warnings, metadata, started_at, finished_at)
  SELECT job_id, :seq, branch, :step, :attempt, fence, :worker_id, :output::jsonb, :degraded, :warnings::jsonb, :metadata::jsonb,
    to_timestamp(:step_started_at::float8), :now FROM held
), joins AS (
  INSERT INTO rkyc.join_point (job_id, step, branch, remaining)
  SELECT job_id, :join_step, :join_branch, :join_count FROM held
  ON CONFLICT (job_id, step) DO UPDATE SET remaining = excluded.remaining
)
INSERT INTO rkyc.ready (lane, job_id, branch, step, events, started_at)
SELECT coalesce(m.lane, :lane), h.job_id, m.branch, m.step, 1, h.started_at
FROM held h CROSS JOIN unnest(:member_lanes::text[], :member_branches::int[], :member_steps::text[]) AS m(lane, branch, step)
RETURNING job_id;

-- name: advance_branches
-- running -> running: as advance_tasks, where branches run side by side. The job numbers the checkpoints, under the lock
-- of its branching row; leases are locked before it, jobs in their order.
WITH held AS MATERIALIZED (
  SELECT d.*, (row_number() OVER (PARTITION BY d.job_id ORDER BY d.branch))::int AS nth
  FROM unnest(:job_ids::bigint[], :branches::int[], :fences::bigint[], :seqs::int[], :steps::text[], :next_steps::text[],
              :attempts::int[], :outputs::text[], :degraded::bool[], :warnings::text[], :metadata::text[], :started_ats::float8[])
    AS d(job_id, branch, fence, seq, step, next_step, attempt, output, degraded, warnings, metadata, started_at)
  CROSS JOIN LATERAL (
    SELECT 1 FROM rkyc.running r WHERE r.job_id = d.job_id AND r.branch = coalesce(d.branch, 0) AND r.fence = d.fence FOR SHARE
  ) r
), counted AS MATERIALIZED (
  SELECT job_id, count(*)::int AS rows, max(seq) AS seq FROM held GROUP BY job_id
), numbered AS (
  INSERT INTO rkyc.branching AS b (job_id, events) SELECT job_id, seq - 1 + rows FROM counted ORDER BY job_id
  ON CONFLICT (job_id) DO UPDATE SET events = greatest(b.events + (SELECT c.rows FROM counted c WHERE c.job_id = excluded.job_id), excluded.events)
  RETURNING job_id, events
)
INSERT INTO rkyc.checkpoint (job_id, seq, branch, step, next_step, attempt, fence, worker_id, output, degraded, warnings, metadata,
                             started_at, finished_at)
SELECT h.job_id, n.events - c.rows + h.nth, coalesce(h.branch, 0), h.step, h.next_step, coalesce(h.attempt, 1), h.fence, :worker_id,
  h.output::jsonb, coalesce(h.degraded, false), h.warnings::jsonb, h.metadata::jsonb, to_timestamp(h.started_at), :now
FROM held h JOIN counted c ON c.job_id = h.job_id JOIN numbered n ON n.job_id = h.job_id
RETURNING job_id, branch, seq;

-- name: arrive_tasks
-- running -> gone; the last to arrive starts the join's step, and each item of a map makes one ready of those that
-- wait. Locked in this order: leases, branching rows, joins, waiting items.
WITH held AS MATERIALIZED (
  SELECT d.*, r.*, (row_number() OVER (PARTITION BY d.job_id ORDER BY d.branch))::int AS nth
  FROM unnest(:job_ids::bigint[], :branches::int[], :fences::bigint[], :seqs::int[], :steps::text[], :attempts::int[], :outputs::text[],
              :degraded::bool[], :warnings::text[], :metadata::text[], :started_ats::float8[], :join_steps::text[], :join_lanes::text[],
              :maps::int[])
    AS d(job_id, branch, fence, seq, step, attempt, output, degraded, warnings, metadata, step_started_at, join_step, join_lane, map)
  CROSS JOIN LATERAL (
    SELECT r.ctid AS place, r.started_at FROM rkyc.running r
    WHERE r.job_id = d.job_id AND r.branch = d.branch AND r.fence = d.fence FOR UPDATE
  ) r
), gone AS (
  DELETE FROM rkyc.running WHERE ctid = ANY (ARRAY(SELECT place FROM held))
), counted AS MATERIALIZED (
  SELECT job_id, count(*)::int AS rows, max(seq) AS seq FROM held GROUP BY job_id
), numbered AS (
  INSERT INTO rkyc.branching AS b (job_id, events) SELECT job_id, seq - 1 + rows FROM counted ORDER BY job_id
  ON CONFLICT (job_id) DO UPDATE SET events = greatest(b.events + (SELECT c.rows FROM counted c WHERE c.job_id = excluded.job_id), excluded.events)
  RETURNING job_id, events
), joined AS (
  -- Reading `numbered`: a join is counted only under its job's lock.
  UPDATE rkyc.join_point p SET remaining = p.remaining - a.arrived
  FROM (
    SELECT h.job_id, h.join_step, count(*)::int AS arrived, max(h.nth) AS last, min(h.join_lane) AS lane, min(h.started_at) AS started_at
    FROM held h JOIN numbered n ON n.job_id = h.job_id GROUP BY h.job_id, h.join_step
  ) a
  WHERE p.job_id = a.job_id AND p.step = a.join_step
  RETURNING p.job_id, p.step, p.branch, p.remaining, a.last, a.lane, a.started_at
), saved AS (
  -- Where the join starts is said by the checkpoint of the last one to arrive.
  INSERT INTO rkyc.checkpoint (job_id, seq, branch, step, next_step, attempt, fence, worker_id, output, degraded, warnings, metadata,
                               started_at, finished_at)
  SELECT h.job_id, n.events - c.rows + h.nth, h.branch, h.step, CASE WHEN j.remaining = 0 AND h.nth = j.last THEN j.step END,
    coalesce(h.attempt, 1), h.fence, :worker_id, h.output::jsonb, coalesce(h.degraded, false), h.warnings::jsonb, h.metadata::jsonb,
    to_timestamp(h.step_started_at), :now
  FROM held h JOIN counted c ON c.job_id = h.job_id JOIN numbered n ON n.job_id = h.job_id
  LEFT JOIN joined j ON j.job_id = h.job_id AND j.step = h.join_step
), last AS (
  INSERT INTO rkyc.ready (lane, job_id, branch, step, events, started_at)
  SELECT lane, job_id, branch, step, 1, started_at FROM joined WHERE remaining = 0
), picked AS MATERIALIZED (
  -- Without SKIP LOCKED: one that is passed over would be woken by nobody.
  SELECT w.place FROM (
    SELECT h.job_id, h.map, count(*)::int AS ended FROM held h JOIN numbered n ON n.job_id = h.job_id
    WHERE h.map > 0 GROUP BY h.job_id, h.map
  ) m CROSS JOIN LATERAL (
    SELECT w.ctid AS place FROM rkyc.waiting w
    WHERE w.job_id = m.job_id AND w.kind = 'map' AND w.branch >= m.map * 131072 AND w.branch < (m.map + 1) * 131072
    ORDER BY w.branch LIMIT m.ended FOR UPDATE
  ) w
), woken AS (
  DELETE FROM rkyc.waiting WHERE ctid = ANY (ARRAY(SELECT place FROM picked)) RETURNING *
), moved AS (
  INSERT INTO rkyc.ready (lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at)
  SELECT lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at
  FROM woken ORDER BY job_id, branch
)
SELECT job_id, branch FROM held;

-- name: find_checkpoint
-- After a connection was lost around a commit: did it land?
SELECT d.number FROM unnest(:job_ids::bigint[], :fences::bigint[], :steps::text[]) WITH ORDINALITY AS d(job_id, fence, step, number)
CROSS JOIN LATERAL (SELECT 1 FROM rkyc.checkpoint c WHERE c.job_id = d.job_id AND c.fence = d.fence AND c.step = d.step LIMIT 1) landed;

-- name: find_leases
-- FOR UPDATE: the commit whose answer was lost may still be under way, and holds its leases until it is decided.
SELECT d.number FROM unnest(:job_ids::bigint[], :branches::int[], :fences::bigint[]) WITH ORDINALITY AS d(job_id, branch, fence, number)
CROSS JOIN LATERAL (
  SELECT 1 FROM rkyc.running r WHERE r.job_id = d.job_id AND r.branch = d.branch AND r.fence = d.fence FOR UPDATE
) held;

-- name: find_ends
-- The same for what ended a job: by this very lease?
SELECT d.number FROM unnest(:job_ids::bigint[], :fences::bigint[]) WITH ORDINALITY AS d(job_id, fence, number)
CROSS JOIN LATERAL (SELECT 1 FROM rkyc.history h WHERE h.job_id = d.job_id AND h.fence = d.fence LIMIT 1) landed;
