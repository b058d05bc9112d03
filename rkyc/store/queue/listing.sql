-- name: find_bounds
-- The inner ids that a page lies between. `before` itself may be gone by now: then the next older one counts.
SELECT
  (SELECT CASE WHEN j.uuid = :before THEN j.id ELSE j.id + 1 END FROM rkyc.job j
   WHERE j.uuid <= :before ORDER BY j.uuid DESC LIMIT 1) AS below,
  (SELECT j.id FROM rkyc.job j WHERE j.uuid >= :from_id ORDER BY j.uuid LIMIT 1) AS from_number;

-- name: list_all_jobs
-- Here and below: OFFSET 0 keeps the view from being joined as a whole, whatever a plan believes of its size. And the
-- lower bound stands as a row, since of two plain bounds a plan for any values believes that next to nothing lies
-- between them, and sorts millions.
WITH page AS MATERIALIZED (
  SELECT j.id, j.uuid FROM rkyc.job j
  WHERE j.id < :below AND (j.id, 0) >= (:from_number, 0) AND (:since::timestamptz IS NULL OR j.created_at >= :since)
  ORDER BY j.id DESC LIMIT :limit
)
SELECT s.* FROM page p CROSS JOIN LATERAL (SELECT * FROM rkyc.job_status s WHERE s.job_id = p.uuid OFFSET 0) s ORDER BY p.id DESC;

-- name: list_jobs_of_pipeline
-- By the negated id, as its index has it.
WITH page AS MATERIALIZED (
  SELECT j.id, j.uuid FROM rkyc.job j
  WHERE j.pipeline = :pipeline AND -j.id > -:below::bigint AND (j.id, 0) >= (:from_number, 0)
    AND (:since::timestamptz IS NULL OR j.created_at >= :since)
    AND (:status::text IS NULL OR (SELECT h.state FROM rkyc.history h WHERE h.job_id = j.id) = :status)
  ORDER BY -j.id LIMIT :limit
)
SELECT s.* FROM page p CROSS JOIN LATERAL (SELECT * FROM rkyc.job_status s WHERE s.job_id = p.uuid OFFSET 0) s ORDER BY p.id DESC;

-- name: list_completed_jobs
-- From the newest back: most jobs of a history are completed. Said as what they are not, so that a plan believes it.
WITH page AS MATERIALIZED (
  SELECT j.id, j.uuid
  FROM rkyc.history h CROSS JOIN LATERAL (SELECT * FROM rkyc.job j WHERE j.id = h.job_id OFFSET 0) j
  WHERE h.state NOT IN ('failed', 'cancelled') AND h.job_id < :below AND (h.job_id, 0) >= (:from_number, 0)
    AND (:since::timestamptz IS NULL OR j.created_at >= :since)
  ORDER BY h.job_id DESC LIMIT :limit
)
SELECT s.* FROM page p CROSS JOIN LATERAL (SELECT * FROM rkyc.job_status s WHERE s.job_id = p.uuid OFFSET 0) s ORDER BY p.id DESC;

-- name: list_unsuccessful_jobs
-- Failed or cancelled: few, and in an index of their own.
WITH page AS MATERIALIZED (
  SELECT j.id, j.uuid
  FROM rkyc.history h CROSS JOIN LATERAL (SELECT * FROM rkyc.job j WHERE j.id = h.job_id OFFSET 0) j
  WHERE h.state = :status AND h.state <> 'completed' AND h.job_id < :below AND (h.job_id, 0) >= (:from_number, 0)
    AND (:since::timestamptz IS NULL OR j.created_at >= :since) AND (:pipeline::text IS NULL OR j.pipeline = :pipeline)
  ORDER BY h.job_id DESC LIMIT :limit
)
SELECT s.* FROM page p CROSS JOIN LATERAL (SELECT * FROM rkyc.job_status s WHERE s.job_id = p.uuid OFFSET 0) s ORDER BY p.id DESC;

-- name: list_running_jobs
WITH page AS MATERIALIZED (
  SELECT j.id, j.uuid
  FROM (SELECT DISTINCT r.job_id FROM rkyc.running r
        WHERE r.job_id < :below AND (r.job_id, 0) >= (:from_number, 0) ORDER BY r.job_id DESC) r
  CROSS JOIN LATERAL (SELECT * FROM rkyc.job j WHERE j.id = r.job_id OFFSET 0) j
  WHERE (:since::timestamptz IS NULL OR j.created_at >= :since) AND (:pipeline::text IS NULL OR j.pipeline = :pipeline)
    AND NOT EXISTS (SELECT FROM rkyc.history h WHERE h.job_id = r.job_id)
  ORDER BY r.job_id DESC LIMIT :limit
)
SELECT s.* FROM page p CROSS JOIN LATERAL (SELECT * FROM rkyc.job_status s WHERE s.job_id = p.uuid OFFSET 0) s ORDER BY p.id DESC;

-- name: list_pending_jobs
-- No task runs, and some wait. From one job to the next one below it, in whichever table it waits: the walk ends when
-- the page is full, and needs no statistics, which tables that fill and empty do not have.
WITH RECURSIVE walk AS (
  SELECT :below::bigint AS job_id
  UNION ALL
  SELECT greatest(
    (SELECT r.job_id FROM rkyc.ready r WHERE r.job_id < w.job_id ORDER BY r.job_id DESC LIMIT 1),
    (SELECT s.job_id FROM rkyc.scheduled s WHERE s.job_id < w.job_id ORDER BY s.job_id DESC LIMIT 1),
    (SELECT b.job_id FROM rkyc.waiting b WHERE b.job_id < w.job_id ORDER BY b.job_id DESC LIMIT 1))
  FROM walk w WHERE w.job_id > :from_number
), page AS MATERIALIZED (
  SELECT j.id, j.uuid
  FROM walk w CROSS JOIN LATERAL (SELECT * FROM rkyc.job j WHERE j.id = w.job_id OFFSET 0) j
  WHERE w.job_id < :below AND w.job_id >= :from_number
    AND (:since::timestamptz IS NULL OR j.created_at >= :since) AND (:pipeline::text IS NULL OR j.pipeline = :pipeline)
    AND (SELECT true FROM rkyc.running r WHERE r.job_id = w.job_id LIMIT 1) IS NULL
    AND (SELECT true FROM rkyc.history h WHERE h.job_id = w.job_id) IS NULL
  LIMIT :limit
)
SELECT s.* FROM page p CROSS JOIN LATERAL (SELECT * FROM rkyc.job_status s WHERE s.job_id = p.uuid OFFSET 0) s ORDER BY p.id DESC;

-- name: list_jobs_of_corp
-- The company may be named at the enqueue, or later by a step; what was said last holds.
SELECT s.*
FROM (
  SELECT f.id FROM (
    SELECT j.id FROM rkyc.job j WHERE j.metadata ?| '{corp,corp_id}'
      AND ARRAY[left(j.metadata ->> 'corp_id', 255), left(j.metadata ->> 'corp', 255)] @> ARRAY[left(:corp, 255)]
    UNION
    SELECT c.job_id FROM rkyc.checkpoint c WHERE c.metadata ?| '{corp,corp_id}'
      AND ARRAY[left(c.metadata ->> 'corp_id', 255), left(c.metadata ->> 'corp', 255)] @> ARRAY[left(:corp, 255)]
    UNION
    SELECT h.job_id FROM rkyc.history h WHERE h.metadata ?| '{corp,corp_id}'
      AND ARRAY[left(h.metadata ->> 'corp_id', 255), left(h.metadata ->> 'corp', 255)] @> ARRAY[left(:corp, 255)]
  ) f WHERE f.id < :below AND (f.id, 0) >= (:from_number, 0) ORDER BY f.id DESC
) f
CROSS JOIN LATERAL (SELECT j.uuid, j.pipeline, j.created_at FROM rkyc.job j WHERE j.id = f.id OFFSET 0) j
CROSS JOIN LATERAL (SELECT * FROM rkyc.job_status s WHERE s.job_id = j.uuid OFFSET 0) s
WHERE (:since::timestamptz IS NULL OR j.created_at >= :since) AND (:pipeline::text IS NULL OR j.pipeline = :pipeline)
  AND (:status::text IS NULL OR s.status = :status) AND (s.metadata ->> 'corp_id' = :corp OR s.metadata ->> 'corp' = :corp)
ORDER BY f.id DESC LIMIT :limit;

-- name: list_jobs_of_metadata
-- By the first pair, which may be said at the enqueue or later by a step, as a text or as a value; then all pairs must hold in
-- what was said last.
SELECT s.*
FROM (
  SELECT DISTINCT f.id FROM unnest(ARRAY[(:texts::text[])[1], (:values::text[])[1]]) w(meta)
  CROSS JOIN LATERAL (
    SELECT j.id FROM rkyc.job j WHERE j.metadata @> w.meta::jsonb AND j.metadata <> '{}'
    UNION ALL
    SELECT c.job_id FROM rkyc.checkpoint c WHERE c.metadata @> w.meta::jsonb AND c.metadata IS NOT NULL
    UNION ALL
    SELECT h.job_id FROM rkyc.history h WHERE h.metadata @> w.meta::jsonb AND h.metadata IS NOT NULL
  ) f WHERE f.id < :below AND (f.id, 0) >= (:from_number, 0) ORDER BY f.id DESC
) f
CROSS JOIN LATERAL (SELECT j.uuid, j.pipeline, j.created_at FROM rkyc.job j WHERE j.id = f.id OFFSET 0) j
CROSS JOIN LATERAL (SELECT * FROM rkyc.job_status s WHERE s.job_id = j.uuid OFFSET 0) s
WHERE (:since::timestamptz IS NULL OR j.created_at >= :since) AND (:pipeline::text IS NULL OR j.pipeline = :pipeline)
  AND (:status::text IS NULL OR s.status = :status)
  AND (SELECT bool_and(s.metadata @> t.text::jsonb OR s.metadata @> t.value::jsonb) FROM unnest(:texts::text[], :values::text[]) t(text, value))
ORDER BY f.id DESC LIMIT :limit;
