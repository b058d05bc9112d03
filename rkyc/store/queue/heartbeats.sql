-- name: write_heartbeats
-- The lease is checked as for a checkpoint: whoever lost it must not speak for the task.
WITH said AS (
  SELECT * FROM unnest(:job_ids::bigint[], :branches::int[], :fences::bigint[], :steps::text[], :attempts::int[], :texts::text[])
    AS d(job_id, branch, fence, step, attempt, details)
)
INSERT INTO rkyc.heartbeat (job_id, branch, step, attempt, details, at)
SELECT d.job_id, d.branch, d.step, d.attempt, d.details::jsonb, :now
FROM said d
CROSS JOIN LATERAL (
  SELECT 1 FROM rkyc.running r WHERE r.job_id = d.job_id AND r.branch = d.branch AND r.fence = d.fence FOR SHARE
) held
ON CONFLICT (job_id, branch) DO UPDATE SET step = excluded.step, attempt = excluded.attempt, details = excluded.details, at = excluded.at;

-- name: read_heartbeat
SELECT details FROM rkyc.heartbeat WHERE job_id = :job_id AND branch = :branch AND step = :step;
