-- name: open_topic
INSERT INTO rkyc.topic (name) VALUES (:topic) ON CONFLICT DO NOTHING;

-- name: lock_topic
-- Held by publishers against each other and against waiters.
SELECT t.name FROM rkyc.topic t WHERE t.name = :topic FOR NO KEY UPDATE;

-- name: watch_topic
-- Held by waiters, who do not hinder each other: a publisher comes before or after.
SELECT t.name FROM rkyc.topic t WHERE t.name = :topic FOR SHARE;

-- name: publish_event
-- waiting -> ready, all that wait for it
WITH new AS (
  INSERT INTO rkyc.published (topic, payload, at) VALUES (:topic, :payload::text::jsonb, clock_timestamp()) RETURNING id
), gone AS (
  DELETE FROM rkyc.waiting w
  WHERE w.kind = 'event' AND w.wake_key = :topic AND (w.match IS NULL OR :payload::text::jsonb @> w.match) RETURNING *
), moved AS (
  INSERT INTO rkyc.ready (lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at)
  SELECT lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at
  FROM gone ORDER BY since RETURNING lane
), told AS (
  SELECT l.lane, pg_notify('rkyc_wake', l.lane) FROM (SELECT DISTINCT lane FROM moved) l
), old AS (
  DELETE FROM rkyc.published WHERE id IN (
    -- The oldest ones only: a look at all of a topic would cost each publisher more.
    SELECT o.id FROM (SELECT p.id, p.at FROM rkyc.published p WHERE p.topic = :topic ORDER BY p.id LIMIT 100) o
    WHERE o.at < clock_timestamp() - make_interval(secs => :kept_s))
)
SELECT (SELECT id FROM new) AS id, (SELECT count(*)::int FROM moved) AS woken, (SELECT count(*) FROM told) AS told;

-- name: find_start
-- The last event that a wait looks past.
SELECT coalesce((SELECT p.id FROM rkyc.published p WHERE p.topic = :topic AND p.at < :since ORDER BY p.id DESC LIMIT 1), 0);

-- name: find_event
SELECT p.id, p.payload FROM rkyc.published p
WHERE p.topic = :topic AND p.id > :after AND (:match::text::jsonb IS NULL OR p.payload @> :match::text::jsonb)
ORDER BY p.id LIMIT 1;
