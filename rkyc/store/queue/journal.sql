-- name: write_answers
-- The lease is checked as for a checkpoint: a worker that lost it must not leave answers behind.
WITH said AS (
  SELECT * FROM unnest(:job_ids::bigint[], :branches::int[], :fences::bigint[], :steps::text[], :names::text[], :answers::text[],
                       :providers::text[], :models::text[], :tokens_ins::int[], :tokens_outs::int[], :costs::float8[], :mss::int[])
    AS d(job_id, branch, fence, step, name, answer, provider, model, tokens_in, tokens_out, cost_usd, ms)
)
INSERT INTO rkyc.journal (job_id, step, branch, name, answer, provider, model, tokens_in, tokens_out, cost_usd, ms, worker_id, at)
SELECT d.job_id, d.step, d.branch, d.name, d.answer::jsonb, d.provider, d.model, d.tokens_in, d.tokens_out, d.cost_usd, d.ms, :worker_id, :now
FROM said d
CROSS JOIN LATERAL (
  SELECT 1 FROM rkyc.running r WHERE r.job_id = d.job_id AND r.branch = d.branch AND r.fence = d.fence FOR SHARE
) held
-- The same answer twice: its commit's fate was unknown and it was sent again.
ON CONFLICT (job_id, step, branch, name) DO UPDATE SET at = excluded.at
RETURNING job_id, branch;

-- name: read_answers
SELECT name, answer FROM rkyc.journal WHERE job_id = :job_id AND step = :step AND branch = :branch;
