-- name: read_standstill
-- What a test waits for: is there anything that this worker will do by itself, and if not, when is something due?
SELECT
  EXISTS (SELECT FROM rkyc.ready r WHERE r.lane = ANY (:lanes::text[])) OR EXISTS (SELECT FROM rkyc.running) AS is_busy,
  EXISTS (SELECT FROM rkyc.waiting w WHERE w.kind IN ('no_worker', 'version_blocked', 'suspect') AND w.wake_key = ANY (:wake_keys::text[]))
    AS has_parked,
  EXISTS (SELECT FROM rkyc.waiting) AS has_waiting,
  least((SELECT s.due_at FROM rkyc.scheduled s ORDER BY s.due_at LIMIT 1),
    (SELECT w.due_at FROM rkyc.waiting w WHERE w.due_at IS NOT NULL ORDER BY w.due_at LIMIT 1)) AS next_due_at;

-- name: list_enqueued
SELECT j.uuid, j.input, j.lane FROM rkyc.job j WHERE j.pipeline = :pipeline ORDER BY j.id LIMIT 1000;

-- name: list_unfinished
SELECT j.uuid FROM rkyc.job j WHERE NOT EXISTS (SELECT FROM rkyc.history h WHERE h.job_id = j.id) ORDER BY j.id LIMIT 1000;

-- name: list_all
SELECT j.uuid FROM rkyc.job j ORDER BY j.id LIMIT 10000;
