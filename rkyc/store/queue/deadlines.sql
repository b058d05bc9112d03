-- name: find_expired_jobs
-- Jobs whose deadline passed since then and of which no task runs: a running one is ended by its worker.
-- One that is being undone runs past its deadline.
-- The time is a subselect: a volatile function would not bound the index, and every deadline to come be read.
-- OFFSET 0: else a plan may join all that runs and waits.
SELECT j.id, j.uuid, j.pipeline FROM rkyc.job j
CROSS JOIN LATERAL (
  SELECT EXISTS (SELECT FROM rkyc.running r WHERE r.job_id = j.id) AS is_running,
    EXISTS (SELECT FROM rkyc.scheduled s WHERE s.job_id = j.id AND s.step !~ '^undo:')
      OR EXISTS (SELECT FROM rkyc.waiting w WHERE w.job_id = j.id AND w.step !~ '^undo:')
      OR EXISTS (SELECT FROM rkyc.ready r WHERE r.job_id = j.id AND r.step !~ '^undo:') AS is_waiting
  OFFSET 0
) t
WHERE j.deadline_at > coalesce(:since::timestamptz, '-infinity') AND j.deadline_at <= (SELECT clock_timestamp())
  AND t.is_waiting AND NOT t.is_running
ORDER BY j.deadline_at LIMIT 100;

-- name: find_passed_deadlines
-- Of ended jobs, where it has passed and would end what begins anew; what is left of an undoing runs past it.
SELECT h.job_id, j.deadline_at
FROM unnest(:job_ids::bigint[]) AS d(job_id)
CROSS JOIN LATERAL (SELECT h.job_id, h.open_tasks FROM rkyc.history h WHERE h.job_id = d.job_id OFFSET 0) h
CROSS JOIN LATERAL (SELECT j.deadline_at FROM rkyc.job j WHERE j.id = h.job_id OFFSET 0) j
WHERE j.deadline_at <= clock_timestamp() AND coalesce(h.open_tasks::text, '') !~ '"undo:';

-- name: expire_job
-- pending -> failed; its tasks were swept before in this transaction, its dead letter is written after
WITH first AS (
  SELECT t ->> 'step' AS step, (t ->> 'branch')::int AS branch
  FROM jsonb_array_elements(:open_tasks::jsonb) t ORDER BY 2 LIMIT 1
)
INSERT INTO rkyc.history (job_id, state, seq, branch, step, error_code, error_class, error_message, open_tasks, started_at, finished_at)
SELECT :job_id, 'failed',
  1 + greatest(coalesce((SELECT max(c.seq) FROM rkyc.checkpoint c WHERE c.job_id = :job_id), 0),
               coalesce((SELECT max(e.seq) FROM rkyc.event e WHERE e.job_id = :job_id), 0),
               coalesce((SELECT b.events FROM rkyc.branching b WHERE b.job_id = :job_id), 0)),
  branch, step, :error_code, :error_class, :message, :open_tasks::jsonb,
  (SELECT min(c.started_at) FROM rkyc.checkpoint c WHERE c.job_id = :job_id), clock_timestamp()
FROM first
RETURNING job_id;
