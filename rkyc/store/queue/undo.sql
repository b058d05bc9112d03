-- name: begin_undo
-- failed, cancelled -> pending: an end that was written in this transaction is taken back and kept by `undo:begin`, until
-- what the job did is undone. No row: there is nothing to undo, or it was being undone already.
WITH ended AS MATERIALIZED (
  SELECT h.job_id, j.lane, coalesce(:order::jsonb, v.graph -> 'undo') AS undo
  FROM rkyc.history h
  CROSS JOIN LATERAL (SELECT j.pipeline, j.version, j.lane FROM rkyc.job j WHERE j.id = h.job_id OFFSET 0) j
  CROSS JOIN LATERAL (SELECT v.graph FROM rkyc.pipeline_version v WHERE v.name = j.pipeline AND v.version = j.version OFFSET 0) v
  WHERE h.job_id = :job_id AND h.state IN ('failed', 'cancelled') AND h.step !~ '^undo:'
), done AS MATERIALIZED (
  -- What the items of a map did is undone on their own branches.
  SELECT c.step, bool_or(c.is_done) AS is_done,
    coalesce(jsonb_agg(DISTINCT c.branch) FILTER (WHERE c.branch >= 131072 AND c.is_done), '[]') AS branches
  FROM ended e CROSS JOIN LATERAL (
    -- Kept or begun again like the others, but not undone: an optional step that failed, and what a fork took over, which
    -- has no fence, for its source did it.
    SELECT c.step, c.branch, c.fence >= 0 AND (c.warnings @> '[{"failed": true}]') IS NOT TRUE AS is_done FROM rkyc.checkpoint c
    WHERE c.job_id = e.job_id AND c.step !~ '^undo:' OFFSET 0
  ) c
  WHERE e.undo IS NOT NULL GROUP BY c.step
), planned AS MATERIALIZED (
  SELECT e.job_id, jsonb_agg(u.value ->> 'step' ORDER BY u.number) AS steps,
    (array_agg(coalesce(u.value ->> 'lane', e.lane) ORDER BY u.number))[1] AS lane,
    jsonb_object_agg(u.value ->> 'step', d.branches) FILTER (WHERE u.value ? 'map') AS items
  FROM ended e CROSS JOIN LATERAL jsonb_array_elements(e.undo) WITH ORDINALITY u(value, number)
  JOIN done d ON d.step = u.value ->> 'step' AND d.is_done
  GROUP BY e.job_id
), gone AS (
  DELETE FROM rkyc.history h WHERE h.job_id = :job_id AND EXISTS (SELECT FROM planned) RETURNING h.*
), begun AS (
  INSERT INTO rkyc.checkpoint (job_id, seq, branch, step, next_step, attempt, fence, worker_id, output, metadata, started_at, finished_at)
  SELECT g.job_id, g.seq, 0, 'undo:begin', 'undo:' || (p.steps ->> 0), greatest(g.attempt, 1), coalesce(g.fence, 0), coalesce(g.worker_id, 0),
    jsonb_build_object('state', g.state, 'step', coalesce(:step::text, g.step), 'attempt', g.attempt, 'reason', :reason::text,
      'lane', :lane::text, 'error_code', g.error_code, 'error_class', g.error_class, 'error_message', g.error_message,
      'error_details', g.error_details::text, 'error_attempts', g.error_attempts, 'crash_attempts', g.crash_attempts,
      'steps', p.steps, 'items', coalesce(p.items, '{}'), 'done', (SELECT jsonb_agg(d.step ORDER BY d.step) FROM done d)),
    jsonb_build_object('undoing', jsonb_build_object('ends_as', g.state, 'steps', p.steps)), g.finished_at, g.finished_at
  FROM gone g CROSS JOIN planned p
)
INSERT INTO rkyc.ready (lane, job_id, branch, step, events, started_at)
SELECT p.lane, g.job_id, 0, 'undo:' || (p.steps ->> 0), g.seq, g.started_at FROM gone g CROSS JOIN planned p
-- Sent when the caller's transaction commits.
RETURNING job_id, pg_notify('rkyc_wake', lane);

-- name: end_undone
-- running -> failed, cancelled: what the job did is undone; its dead letter is a statement of its own in the same transaction
WITH held AS (
  DELETE FROM rkyc.running WHERE job_id = :job_id AND branch = :branch AND fence = :fence RETURNING *
)
INSERT INTO rkyc.history (job_id, state, seq, branch, step, attempt, fence, worker_id, error_code, error_class, error_message,
                          error_details, error_attempts, crash_attempts, open_tasks, started_at, finished_at)
SELECT job_id, :state, :seq, branch, :step, :attempt, fence, :worker_id, :error_code, :error_class, :error_message,
  :error_details::jsonb, :error_attempts, :crash_attempts,
  jsonb_build_array(jsonb_build_object('branch', branch, 'step', :step::text, 'lane', :lane::text)), started_at, :now
FROM held
RETURNING job_id;

-- name: has_undo
-- OFFSET 0: else a plan that was made while the tables were small joins all jobs.
SELECT EXISTS (
  SELECT FROM (SELECT j.pipeline, j.version FROM rkyc.job j WHERE j.id = :job_id OFFSET 0) j
  CROSS JOIN LATERAL (SELECT v.graph FROM rkyc.pipeline_version v WHERE v.name = j.pipeline AND v.version = j.version OFFSET 0) v
  CROSS JOIN LATERAL jsonb_array_elements(v.graph -> 'undo') u
  CROSS JOIN LATERAL (
    SELECT FROM rkyc.checkpoint c
    WHERE c.job_id = :job_id AND c.step = u.value ->> 'step' AND c.fence >= 0 AND (c.warnings @> '[{"failed": true}]') IS NOT TRUE
    LIMIT 1) c);

-- name: is_undoing
SELECT EXISTS (SELECT FROM rkyc.undoing_task u WHERE u.job_id = :job_id);

-- name: read_undo
-- As a row of `undo_status`, without a look at all that is being undone.
SELECT j.uuid AS job_id, j.pipeline, u.* FROM rkyc.job j CROSS JOIN LATERAL rkyc.undo_of(j.id) u WHERE j.uuid = :uuid;
