-- name: spread_task
-- running -> ready and waiting: the task ends, an item begins per element of its output. The first ones are ready;
-- each that ends makes one ready of those that wait (`arrive_tasks`).
WITH held AS (
  DELETE FROM rkyc.running WHERE job_id = :job_id AND branch = :branch AND fence = :fence RETURNING *
), saved AS (
  INSERT INTO rkyc.checkpoint (job_id, seq, branch, step, attempt, fence, worker_id, output, degraded, warnings, metadata, started_at, finished_at)
  SELECT job_id, :seq, branch, :step, :attempt, fence, :worker_id, :output::jsonb, :degraded, :warnings::jsonb, :metadata::jsonb,
    to_timestamp(:step_started_at::float8), :now FROM held
), items AS (
  INSERT INTO rkyc.map_item (job_id, branch, key, input)
  SELECT h.job_id, :first_branch::int + e.number::int - 1, e.key, e.value::jsonb
  FROM held h CROSS JOIN unnest(:elements::text[], :keys::text[]) WITH ORDINALITY e(value, key, number)
  -- A job that a person started again before its fork, perhaps with fewer elements now.
  ON CONFLICT (job_id, branch) DO UPDATE SET key = excluded.key, input = excluded.input
), stale AS (
  DELETE FROM rkyc.map_item i USING held h
  WHERE i.job_id = h.job_id AND i.branch >= :first_branch::int + :items::int AND i.branch < (:first_branch::int / 131072 + 1) * 131072
), joins AS (
  INSERT INTO rkyc.join_point (job_id, step, branch, remaining)
  SELECT job_id, :join_step, :join_branch, :items FROM held
  ON CONFLICT (job_id, step) DO UPDATE SET remaining = excluded.remaining
), held_back AS (
  INSERT INTO rkyc.waiting (kind, wake_key, lane, job_id, branch, step, events, started_at, since)
  SELECT 'map', h.job_id || ':' || :item_step, :lane, h.job_id, :first_branch::int + n, :item_step, 1, h.started_at, :now
  FROM held h CROSS JOIN generate_series(:at_once::int, :items::int - 1) n
)
INSERT INTO rkyc.ready (lane, job_id, branch, step, events, started_at)
SELECT :lane, h.job_id, :first_branch::int + n, :item_step, 1, h.started_at
FROM held h CROSS JOIN generate_series(0, least(:at_once::int, :items::int) - 1) n
RETURNING job_id;

-- name: read_outputs_outside
SELECT c.step, coalesce(c.output::text, 'null') AS output FROM rkyc.checkpoint c
WHERE c.job_id = :job_id AND c.branch < 131072 AND c.step = ANY (:names::text[])
UNION ALL
SELECT m.name, m.results FROM rkyc.map_results(:job_id) m WHERE m.name = ANY (:names::text[]);
