-- name: read_budget
-- In USD; no budget is NULL.
SELECT j.budget_usd + coalesce((SELECT b.added_usd FROM rkyc.job_budget b WHERE b.job_id = j.id), 0) AS budget_usd,
  coalesce((SELECT sum(u.cost_usd) FROM rkyc.journal u WHERE u.job_id = j.id), 0) AS spent_usd
FROM rkyc.job j WHERE j.id = :job_id;

-- name: add_budget
INSERT INTO rkyc.job_budget AS b (job_id, added_usd) SELECT j.id, :usd::float8 FROM rkyc.job j WHERE j.id = :job_id AND j.budget_usd IS NOT NULL
ON CONFLICT (job_id) DO UPDATE SET added_usd = b.added_usd + excluded.added_usd
RETURNING b.added_usd;
