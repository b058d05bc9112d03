-- name: declare_start_limits
-- What the code of these versions declares, and no more.
WITH told AS (
  SELECT * FROM unnest(:pipelines::text[], :versions::int[], :steps::text[], :lanes::text[], :seconds::float8[])
    AS d(pipeline, version, step, lane, seconds)
), gone AS (
  DELETE FROM rkyc.start_limit s WHERE (s.pipeline, s.version) IN (SELECT * FROM unnest(:names::text[], :numbers::int[]))
    AND NOT EXISTS (SELECT FROM told t WHERE t.pipeline = s.pipeline AND t.version = s.version AND t.step = s.step)
)
INSERT INTO rkyc.start_limit AS s (pipeline, version, step, lane, seconds)
SELECT t.pipeline, t.version, t.step, t.lane, t.seconds FROM told t
ON CONFLICT (pipeline, version, step) DO UPDATE SET lane = excluded.lane, seconds = excluded.seconds
WHERE (s.lane, s.seconds) IS DISTINCT FROM (excluded.lane, excluded.seconds);

-- name: find_limited_lanes
-- Where tasks may wait too long, with the least limit; `has_steps`: some step has one of its own.
SELECT l.name AS lane, least(l.ttl_s, s.seconds) AS seconds, greatest(l.ttl_s, s.longest) AS longest_s, s.seconds IS NOT NULL AS has_steps
FROM rkyc.lane l
LEFT JOIN LATERAL (
  SELECT min(s.seconds) AS seconds, max(s.seconds) AS longest FROM rkyc.start_limit s WHERE coalesce(s.lane, l.name) = l.name
) s ON true
WHERE l.ttl_s IS NOT NULL OR s.seconds IS NOT NULL
ORDER BY l.rank, l.name;

-- name: write_mark
INSERT INTO rkyc.ready_mark (at, seq)
SELECT :now, coalesce(pg_sequence_last_value('rkyc.ready_seq'), 0)
WHERE (SELECT m.at FROM rkyc.ready_mark m ORDER BY m.at DESC LIMIT 1) > :now::timestamptz - make_interval(secs => :every_s::float8) IS NOT TRUE
ON CONFLICT DO NOTHING;

-- name: drop_marks
DELETE FROM rkyc.ready_mark WHERE at < :before;

-- name: find_stale_tasks
-- Of the lane's oldest tasks those that have waited too long; one that undoes waits as long as it takes. One that was enqueued and never moved waits since then,
-- wherever the fleet was; for any other the marks tell since when it has stood here at least.
WITH head AS MATERIALIZED (
  SELECT r.seq, r.job_id, r.branch, r.step, r.started_at IS NULL AND r.events = 0 AS is_fresh
  FROM rkyc.ready r WHERE r.lane = :lane AND r.seq > :after ORDER BY r.seq LIMIT :limit
)
SELECT h.seq, h.job_id, h.branch, h.step, j.uuid, j.pipeline, t.seconds, t.is_stale
FROM head h
CROSS JOIN LATERAL (SELECT * FROM rkyc.job j WHERE j.id = h.job_id OFFSET 0) j
CROSS JOIN LATERAL (
  SELECT least((SELECT l.ttl_s FROM rkyc.lane l WHERE l.name = :lane),
    (SELECT s.seconds FROM rkyc.start_limit s WHERE s.pipeline = j.pipeline AND s.version = j.version AND s.step = h.step)) AS seconds
  OFFSET 0
) w
CROSS JOIN LATERAL (
  SELECT w.seconds, coalesce(CASE
    WHEN h.step ~ '^undo:' THEN false
    WHEN h.is_fresh THEN coalesce((j.traits ->> 'run_at')::timestamptz, j.created_at) <= :now::timestamptz - make_interval(secs => w.seconds)
    ELSE h.seq <= (SELECT m.seq FROM rkyc.ready_mark m WHERE m.at <= :now - make_interval(secs => w.seconds) ORDER BY m.at DESC LIMIT 1)
  END, false) AS is_stale
) t
ORDER BY h.seq;

-- name: lock_ready_task
-- Still waiting, and the same wait?
SELECT job_id FROM rkyc.ready WHERE lane = :lane AND seq = :seq AND job_id = :job_id FOR UPDATE;

-- name: find_stale_waits
-- The same of tasks that only the fleet's capacity holds back outside of `ready`: for the turn of their key, for a worker
-- that serves them, for a place of a limit. `seconds`: the least limit of the lane, within which nobody is looked
-- at. The kinds are those of the index, in its words.
WITH head AS MATERIALIZED (
  SELECT w.since, w.job_id, w.branch, w.step FROM rkyc.waiting w
  WHERE w.lane = :lane AND w.since <= :now::timestamptz - make_interval(secs => :seconds::float8)
    AND (w.since, w.job_id, w.branch) > (:after_since::timestamptz, :after_job_id::bigint, :after_branch::int)
    AND (w.kind IN ('fair', 'no_worker', 'version_blocked')
      OR (w.kind = 'limit' AND w.wake_key NOT LIKE 'rate/%'))
  ORDER BY w.since, w.job_id, w.branch LIMIT :limit
)
SELECT h.since, h.job_id, h.branch, h.step, j.uuid, j.pipeline, t.seconds,
  coalesce(h.step !~ '^undo:' AND h.since <= :now - make_interval(secs => t.seconds), false) AS is_stale
FROM head h
CROSS JOIN LATERAL (SELECT * FROM rkyc.job j WHERE j.id = h.job_id OFFSET 0) j
CROSS JOIN LATERAL (
  SELECT least((SELECT l.ttl_s FROM rkyc.lane l WHERE l.name = :lane),
    (SELECT s.seconds FROM rkyc.start_limit s WHERE s.pipeline = j.pipeline AND s.version = j.version AND s.step = h.step)) AS seconds
  OFFSET 0
) t
ORDER BY h.since, h.job_id, h.branch;

-- name: lock_stale_wait
-- Still waiting, and the same wait?
SELECT job_id FROM rkyc.waiting WHERE job_id = :job_id AND branch = :branch AND since = :since FOR UPDATE;
