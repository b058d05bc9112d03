-- name: bury_job
-- The dead letter of a job that has just failed; one row for each job, which counts how often it was started again. What
-- can't succeed goes to the archive at once, the rest when it was started again often enough.
WITH lane AS (
  SELECT max(l.redrive_times) AS times, make_interval(secs => 86400 * coalesce(max(l.dead_kept_days), 7)) AS kept,
    coalesce(:now::timestamptz, clock_timestamp()) AS now
  FROM rkyc.lane l WHERE l.name = :lane
)
INSERT INTO rkyc.dead_letter AS d (queue, job_id, step, reason, error_code, error_class, error_message, fingerprint, state,
                                   archive_queue, first_at, at, expires_at)
SELECT 'dlq.' || :lane::text, :job_id, :step, :reason, :error_code, :error_class, :error_message, :fingerprint,
  CASE WHEN :error_class = 'retryable' THEN 'dead' ELSE 'archived' END,
  CASE WHEN :error_class = 'retryable' THEN NULL ELSE 'archive.' || :lane END, l.now, l.now, l.now + l.kept
FROM lane l
ON CONFLICT (job_id) DO UPDATE SET queue = excluded.queue, step = excluded.step, reason = excluded.reason,
  error_code = excluded.error_code, error_class = excluded.error_class, error_message = excluded.error_message,
  fingerprint = excluded.fingerprint, at = excluded.at, expires_at = excluded.expires_at,
  (state, archive_queue) = (
    SELECT CASE WHEN d.retry_count >= coalesce(l.times, 3) THEN 'archived' ELSE excluded.state END,
      CASE WHEN d.retry_count >= coalesce(l.times, 3) THEN 'archive.' || :lane ELSE excluded.archive_queue END
    FROM (SELECT max(o.redrive_times) AS times FROM rkyc.lane o WHERE o.name = :lane) l)
RETURNING state;

-- name: list_dead_letters
-- By the index of the state, newest first; a filter that fits little reads on through what is kept (days).
SELECT l.* FROM (
  SELECT d.id, d.at FROM rkyc.dead_letter d
  WHERE d.state = :state AND (:queue::text IS NULL OR d.queue = :queue) AND (:fingerprint::text IS NULL OR d.fingerprint = :fingerprint)
    AND (:error_code::text IS NULL OR d.error_code = :error_code) AND (:reason::text IS NULL OR d.reason = :reason)
    AND (:pipeline::text IS NULL OR (SELECT j.pipeline FROM rkyc.job j WHERE j.id = d.job_id) = :pipeline)
    AND (:before::bigint IS NULL OR (d.at, d.id) < (SELECT b.at, b.id FROM rkyc.dead_letter b WHERE b.id = :before))
  ORDER BY d.at DESC, d.id DESC LIMIT :limit
) p CROSS JOIN LATERAL (SELECT * FROM rkyc.dead_letters l WHERE l.id = p.id OFFSET 0) l ORDER BY p.at DESC, p.id DESC;

-- name: list_groups
-- One line for each kind of failure, the most frequent first; the message is that of its last dead letter.
SELECT d.queue, d.fingerprint, d.step, d.error_code, d.error_class, count(*)::int AS count, min(d.first_at) AS first_at,
  max(d.at) AS last_at, (array_agg(d.error_message ORDER BY d.at DESC))[1] AS error_message
FROM rkyc.dead_letter d
WHERE d.state = :state AND (:queue::text IS NULL OR d.queue = :queue)
GROUP BY d.queue, d.fingerprint, d.step, d.error_code, d.error_class ORDER BY count(*) DESC, max(d.at) DESC LIMIT :limit;

-- name: list_matching
-- How many a filter fits; of all that are kept, at most so many are counted.
SELECT count(*)::int AS count FROM (
  SELECT FROM rkyc.dead_letter d
  WHERE d.state = ANY (:states::text[]) AND (:ids::bigint[] IS NULL OR d.id = ANY (:ids))
    AND (:queue::text IS NULL OR d.queue = :queue) AND (:fingerprint::text IS NULL OR d.fingerprint = :fingerprint)
    AND (:error_code::text IS NULL OR d.error_code = :error_code) AND (:reason::text IS NULL OR d.reason = :reason)
    AND (:pipeline::text IS NULL OR (SELECT j.pipeline FROM rkyc.job j WHERE j.id = d.job_id) = :pipeline)
  LIMIT :limit
) d;

-- name: list_ids
-- The oldest that a filter fits, above `after`: those that a person is about to start again or to discard.
SELECT d.id FROM rkyc.dead_letter d
WHERE d.state = ANY (:states::text[]) AND (:ids::bigint[] IS NULL OR d.id = ANY (:ids)) AND d.id > :after
  AND (:queue::text IS NULL OR d.queue = :queue) AND (:fingerprint::text IS NULL OR d.fingerprint = :fingerprint)
  AND (:error_code::text IS NULL OR d.error_code = :error_code) AND (:reason::text IS NULL OR d.reason = :reason)
  AND (:pipeline::text IS NULL OR (SELECT j.pipeline FROM rkyc.job j WHERE j.id = d.job_id) = :pipeline)
ORDER BY d.id LIMIT :limit;

-- name: find_of_job
-- OFFSET 0: else a plan that is made while the table is empty reads all of it later.
SELECT d.id FROM rkyc.job j CROSS JOIN LATERAL (SELECT d.id FROM rkyc.dead_letter d WHERE d.job_id = j.id OFFSET 0) d
WHERE j.uuid = :uuid;

-- name: read_dead_letter
SELECT l.*, j.input, h.error_details, h.open_tasks
FROM rkyc.dead_letters l JOIN rkyc.job j ON j.uuid = l.job_id LEFT JOIN rkyc.history h ON h.job_id = j.id WHERE l.id = :id;

-- name: lock_dead_letters
-- Those that may still be moved; what another process holds is left to it. By number, whatever a plan believes of states.
-- In the order of the jobs' unique keys, which are locked next.
SELECT d.id, d.job_id FROM unnest(:ids::bigint[]) i(id)
CROSS JOIN LATERAL (
  SELECT d.id, d.job_id FROM rkyc.dead_letter d
  WHERE d.id = i.id AND CASE d.state WHEN 'dead' THEN true WHEN 'archived' THEN true ELSE false END FOR UPDATE SKIP LOCKED
) d
ORDER BY (SELECT j.traits #>> '{unique,key}' FROM rkyc.job j WHERE j.id = d.job_id), d.id;

-- name: lock_of_job
-- Before a retry by a person takes the job's history: whoever starts dead letters again locks them first.
SELECT d.id FROM rkyc.dead_letter d WHERE d.job_id = :job_id FOR UPDATE;

-- name: count_try
UPDATE rkyc.dead_letter SET retry_count = retry_count + 1 WHERE id = :id;

-- name: discard_dead_letter
-- dead, archived -> discarded; the job stays failed. It was locked before.
UPDATE rkyc.dead_letter SET state = 'discarded', archive_queue = NULL WHERE id = :id;

-- name: find_chores
-- One look for an idle process: is a run due, has a dead letter been kept long enough, and when does the next run come?
SELECT (SELECT min(l.redrive_at) FROM rkyc.lane l WHERE l.redrive_every_s IS NOT NULL) AS redrive_at,
  (SELECT d.expires_at FROM rkyc.dead_letter d ORDER BY d.expires_at LIMIT 1) AS expires_at;

-- name: take_due_runs
-- The run of a lane is made by whoever moves its clock on; the times stay on their grid.
UPDATE rkyc.lane l SET redrive_at = l.redrive_at
  + make_interval(secs => l.redrive_every_s * (1 + floor(extract(epoch FROM :now - l.redrive_at)::float8 / l.redrive_every_s)))
WHERE l.name = ANY (ARRAY(
  SELECT l.name FROM rkyc.lane l WHERE l.redrive_at <= :now AND l.redrive_every_s IS NOT NULL FOR UPDATE SKIP LOCKED))
RETURNING l.name AS lane, l.redrive_at_most, l.redrive_times;

-- name: find_due_dead_letters
-- The oldest of a lane; those that another process holds are left to it.
SELECT d.id FROM rkyc.dead_letter d
WHERE d.queue = 'dlq.' || :lane::text AND d.state = 'dead' AND d.at <= :now AND d.retry_count < :times
ORDER BY d.at, d.id LIMIT :at_most FOR UPDATE SKIP LOCKED;

-- name: drop_expired_dead_letters
-- Kept long enough. One that was started again stays until its job has ended: it holds how often that was.
DELETE FROM rkyc.dead_letter d USING (
  SELECT d.id FROM rkyc.dead_letter d
  WHERE d.expires_at <= :now
    AND (d.state <> 'requeued' OR (SELECT true FROM rkyc.history h WHERE h.job_id = d.job_id) IS NOT NULL
         OR (SELECT true FROM rkyc.job j WHERE j.id = d.job_id) IS NULL)
  ORDER BY d.expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
) old WHERE d.id = old.id
RETURNING d.queue;
