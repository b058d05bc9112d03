-- name: lock_unique_key
-- Those who ask for one key come one by one, until they commit.
INSERT INTO rkyc.unique_key AS k (key, asked_at) VALUES (:key, clock_timestamp())
ON CONFLICT (key) DO UPDATE SET asked_at = excluded.asked_at;

-- name: find_unique_holder
-- A statement of its own after the lock: its snapshot sees what the one before committed. The terms are the holder's.
SELECT j.uuid, h.job_id, NOT t.is_running AND NOT t.has_ended AS is_pending
FROM rkyc.unique_holder h
-- OFFSET 0: else a plan may join all that runs.
CROSS JOIN LATERAL (SELECT j.uuid FROM rkyc.job j WHERE j.id = h.job_id OFFSET 0) j
CROSS JOIN LATERAL (
  SELECT EXISTS (SELECT FROM rkyc.running r WHERE r.job_id = h.job_id) AS is_running,
    EXISTS (SELECT FROM rkyc.history e WHERE e.job_id = h.job_id) AS has_ended
  OFFSET 0
) t
WHERE h.key = :key AND CASE h.held_while
  WHEN 'period' THEN h.until > clock_timestamp()
  WHEN 'running' THEN t.is_running AND NOT t.has_ended
  WHEN 'pending' THEN NOT t.is_running AND NOT t.has_ended
  ELSE NOT t.has_ended END
ORDER BY h.job_id LIMIT 1;

-- name: hold_unique_key
-- Of those who held it, none does any more but by a state that may come back: pending after a retry, running after a wait.
WITH gone AS (
  DELETE FROM rkyc.unique_holder h WHERE h.key = :key AND CASE h.held_while
    WHEN 'period' THEN h.until <= clock_timestamp()
    ELSE coalesce((SELECT true FROM rkyc.history e WHERE e.job_id = h.job_id), (SELECT false FROM rkyc.job j WHERE j.id = h.job_id), true) END
)
INSERT INTO rkyc.unique_holder (key, job_id, held_while, until)
SELECT :key, j.id, :held_while, clock_timestamp() + make_interval(secs => :for_s::float8) FROM rkyc.job j WHERE j.uuid = :job_uuid;

-- name: find_key_of_job
-- What a job that is started again asks for; not a period, which holds whatever becomes of its job.
SELECT j.traits #>> '{unique,key}' AS key, j.traits #>> '{unique,held_while}' AS held_while FROM rkyc.job j
WHERE j.id = :job_id;

-- name: hold_key_again
INSERT INTO rkyc.unique_holder (key, job_id, held_while) VALUES (:key, :job_id, :held_while) ON CONFLICT DO NOTHING;

-- name: let_go_of_key
DELETE FROM rkyc.unique_holder WHERE key = :key AND job_id = :job_id;

-- name: sweep_unique_keys
-- Keys from `after` on whose holders are all gone, some at a time; one that somebody asks for just now is passed over.
WITH looked AS MATERIALIZED (
  -- Not EXISTS: that may be planned as a hash of all that ended. A job that is gone holds nothing.
  SELECT k.key, coalesce((
    SELECT false FROM rkyc.unique_holder h WHERE h.key = k.key AND CASE h.held_while
      WHEN 'period' THEN h.until > clock_timestamp()
      ELSE coalesce((SELECT false FROM rkyc.history e WHERE e.job_id = h.job_id), (SELECT true FROM rkyc.job j WHERE j.id = h.job_id), false) END
    LIMIT 1
  ), true) AS is_free
  FROM rkyc.unique_key k WHERE k.key > :after ORDER BY k.key LIMIT :limit
), locked AS MATERIALIZED (
  SELECT k.key FROM looked l CROSS JOIN LATERAL (
    SELECT k.key FROM rkyc.unique_key k WHERE k.key = l.key AND k.asked_at < clock_timestamp() - interval '1 minute'
    FOR UPDATE SKIP LOCKED
  ) k WHERE l.is_free
), holders AS (
  DELETE FROM rkyc.unique_holder h WHERE h.key = ANY (ARRAY(SELECT key FROM locked))
), keys AS (
  DELETE FROM rkyc.unique_key k WHERE k.key = ANY (ARRAY(SELECT key FROM locked)) RETURNING 1
)
SELECT max(l.key) AS last, count(*)::int AS looked, (SELECT count(*)::int FROM keys) AS removed FROM looked l;
