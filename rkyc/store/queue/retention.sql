-- name: declare_retention
-- What the code of these pipelines declares, and no more.
WITH gone AS (
  DELETE FROM rkyc.retention WHERE pipeline = ANY (:names::text[]) AND NOT pipeline = ANY (:pipelines::text[])
)
INSERT INTO rkyc.retention AS r (pipeline, completed_days, failed_days, cancelled_days)
SELECT * FROM unnest(:pipelines::text[], :completed::float8[], :failed::float8[], :cancelled::float8[])
ON CONFLICT (pipeline) DO UPDATE SET completed_days = excluded.completed_days, failed_days = excluded.failed_days,
  cancelled_days = excluded.cancelled_days
WHERE (r.completed_days, r.failed_days, r.cancelled_days)
  IS DISTINCT FROM (excluded.completed_days, excluded.failed_days, excluded.cancelled_days);

-- name: find_shortest
SELECT min(least(r.completed_days, r.failed_days, r.cancelled_days, :default_days::float8)) AS days
FROM (SELECT completed_days, failed_days, cancelled_days FROM rkyc.retention UNION ALL SELECT NULL, NULL, NULL) r;

-- name: find_ended_jobs
-- The oldest ends from the cursor on, and whether each has been kept long enough.
SELECT h.job_id, h.finished_at, coalesce(h.finished_at <= :now::timestamptz - make_interval(secs => 86400 * coalesce(
    CASE h.state WHEN 'completed' THEN r.completed_days WHEN 'failed' THEN r.failed_days ELSE r.cancelled_days END,
    :default_days::float8)), false) AS is_over
FROM (
  SELECT h.job_id, h.state, h.finished_at FROM rkyc.history h
  WHERE h.finished_at >= :after AND h.finished_at <= :before ORDER BY h.finished_at LIMIT :limit
) h
CROSS JOIN LATERAL (SELECT j.pipeline FROM rkyc.job j WHERE j.id = h.job_id OFFSET 0) j
LEFT JOIN rkyc.retention r ON r.pipeline = j.pipeline
ORDER BY h.finished_at;

-- name: lock_ended_jobs
-- Ended, and nobody starts them again meanwhile: their history is locked. Not while a dead letter or a parent needs them.
SELECT h.job_id FROM unnest(:job_ids::bigint[]) i(id)
CROSS JOIN LATERAL (SELECT h.job_id FROM rkyc.history h WHERE h.job_id = i.id FOR UPDATE SKIP LOCKED) h
WHERE coalesce((SELECT d.state NOT IN ('dead', 'archived') FROM rkyc.dead_letter d WHERE d.job_id = i.id), true)
  AND coalesce((SELECT (SELECT true FROM rkyc.history p WHERE p.job_id = c.parent_id) OR (SELECT true FROM rkyc.job p WHERE p.id = c.parent_id) IS NULL
                FROM rkyc.child c WHERE c.child_id = i.id), (SELECT true FROM rkyc.child c WHERE c.child_id = i.id) IS NULL);

-- name: delete_jobs
-- history -> gone, with all that belongs to the jobs; they were locked before in this transaction.
WITH a AS (DELETE FROM rkyc.checkpoint WHERE job_id = ANY (:job_ids::bigint[])),
b AS (DELETE FROM rkyc.superseded_checkpoint WHERE job_id = ANY (:job_ids)),
c AS (DELETE FROM rkyc.event WHERE job_id = ANY (:job_ids)),
d AS (DELETE FROM rkyc.journal WHERE job_id = ANY (:job_ids)),
e AS (DELETE FROM rkyc.stream_event WHERE job_id = ANY (:job_ids)),
f AS (DELETE FROM rkyc.signal WHERE job_id = ANY (:job_ids)),
g AS (DELETE FROM rkyc.heartbeat WHERE job_id = ANY (:job_ids)),
i AS (DELETE FROM rkyc.dead_letter WHERE job_id = ANY (:job_ids)),
k AS (DELETE FROM rkyc.branching WHERE job_id = ANY (:job_ids)),
l AS (DELETE FROM rkyc.join_point WHERE job_id = ANY (:job_ids)),
m AS (DELETE FROM rkyc.lineage WHERE job_id = ANY (:job_ids)),
q AS (DELETE FROM rkyc.limit_grant WHERE job_id = ANY (:job_ids)),
r AS (DELETE FROM rkyc.job_budget WHERE job_id = ANY (:job_ids)),
s AS (DELETE FROM rkyc.blob_ref WHERE job_id = ANY (:job_ids)),
t AS (DELETE FROM rkyc.map_item WHERE job_id = ANY (:job_ids)),
n AS (DELETE FROM rkyc.child WHERE parent_id = ANY (:job_ids)),
o AS (DELETE FROM rkyc.child WHERE child_id = ANY (:job_ids)),
h AS (DELETE FROM rkyc.history WHERE job_id = ANY (:job_ids)),
j AS (DELETE FROM rkyc.job WHERE id = ANY (:job_ids) RETURNING idempotency_key),
p AS (
  DELETE FROM rkyc.idempotency WHERE key = ANY (ARRAY(
    SELECT j.idempotency_key FROM rkyc.job j WHERE j.id = ANY (:job_ids) AND j.idempotency_key IS NOT NULL))
)
SELECT count(*)::int AS deleted FROM j;
