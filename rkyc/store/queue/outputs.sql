-- name: list_output_steps
-- The steps of a job that have an output, the newest last; `items`: of how many elements, where a map ran it.
SELECT o.step, count(DISTINCT o.branch) FILTER (WHERE o.branch >= 131072)::int AS items
FROM (
  SELECT c.step, c.seq, c.branch FROM rkyc.checkpoint c WHERE c.job_id = :job_id AND c.step !~ '^undo:'
  UNION ALL
  SELECT h.step, h.seq, h.branch FROM rkyc.history h WHERE h.job_id = :job_id AND h.state = 'completed'
) o GROUP BY o.step ORDER BY max(o.seq);

-- name: list_step_items
-- The items that have done a step: all, or those of a key or a number.
SELECT c.branch, i.key FROM (
  SELECT DISTINCT c.branch FROM rkyc.checkpoint c WHERE c.job_id = :job_id AND c.branch >= 131072 AND c.step = :step
) c
CROSS JOIN LATERAL (SELECT i.key FROM rkyc.map_item i WHERE i.job_id = :job_id AND i.branch = c.branch OFFSET 0) i
WHERE :key::text IS NULL OR i.key = :key OR c.branch % 131072 = :number::int
ORDER BY c.branch LIMIT :limit;

-- name: read_step_output
SELECT coalesce(o.output::text, 'null') AS output FROM (
  SELECT c.seq, c.output FROM rkyc.checkpoint c
  WHERE c.job_id = :job_id AND c.step = :step AND (:branch::int IS NULL OR c.branch = :branch)
  UNION ALL
  SELECT h.seq, h.result FROM rkyc.history h WHERE h.job_id = :job_id AND h.step = :step AND h.state = 'completed'
) o ORDER BY o.seq DESC LIMIT 1;
