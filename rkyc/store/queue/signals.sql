-- name: give_signal
SELECT rkyc.give_signal(:job_uuid, :name, :payload::text::jsonb, :source, :delivery_id) AS said;

-- name: take_signal
-- Run after lock_lease in one transaction: what an earlier try of the same wait took is seen here. Taken once, and
-- remembered by the step in the same commit.
WITH known AS (
  SELECT answer FROM rkyc.journal WHERE job_id = :job_id AND step = :step AND branch = :branch AND name = :key
), oldest AS (
  SELECT s.id, s.payload FROM rkyc.signal s
  WHERE s.job_id = :job_id AND s.name = :name AND s.taken_at IS NULL AND NOT EXISTS (SELECT FROM known)
  ORDER BY s.id LIMIT 1 FOR UPDATE
), taken AS (
  UPDATE rkyc.signal s SET taken_at = :now, taken_by = :step FROM oldest o WHERE s.id = o.id
), noted AS (
  INSERT INTO rkyc.journal (job_id, step, branch, name, answer, ms, worker_id, at)
  SELECT :job_id, :step, :branch, :key, jsonb_build_object('payload', o.payload), 0, :worker_id, :now FROM oldest o
  RETURNING answer
)
SELECT answer FROM known UNION ALL SELECT answer FROM noted;

-- name: has_signal
SELECT EXISTS (SELECT FROM rkyc.signal s WHERE s.job_id = :job_id AND s.name = :name AND s.taken_at IS NULL);

-- name: lock_job
-- The row that a sender locks too: whoever comes second looks afterwards and sees the other.
SELECT j.id FROM rkyc.job j WHERE j.id = :job_id FOR NO KEY UPDATE;
