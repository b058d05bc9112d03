-- name: lock_turns
-- One hands out turns of a lane at a time: the lock is a statement of its own, so that the next one sees what was had.
INSERT INTO rkyc.fair_turn (lane, key, had, updated_at) VALUES (:lane, '', 0, :now)
ON CONFLICT (lane, key) DO UPDATE SET updated_at = excluded.updated_at;

-- name: find_turn_lanes
SELECT l.lane FROM unnest(:lanes::text[]) WITH ORDINALITY AS l(lane, number)
WHERE EXISTS (SELECT FROM rkyc.waiting w WHERE w.kind = 'fair' AND w.lane = l.lane) ORDER BY l.number;

-- name: claim_turns
-- waiting -> running: the keys that have had least, by their weights; run after lock_turns
WITH RECURSIVE keys(key, job_id) AS (
  -- One look into the index for each key that has tasks.
  (SELECT w.wake_key, w.job_id FROM rkyc.waiting w WHERE w.kind = 'fair' AND w.lane = :lane ORDER BY w.wake_key, w.job_id LIMIT 1)
  UNION ALL
  SELECT n.wake_key, n.job_id FROM keys k CROSS JOIN LATERAL (
    SELECT w.wake_key, w.job_id FROM rkyc.waiting w WHERE w.kind = 'fair' AND w.lane = :lane AND w.wake_key > k.key
    ORDER BY w.wake_key, w.job_id LIMIT 1
  ) n
), least AS MATERIALIZED (
  -- A key that was away is not owed all that others had meanwhile, only `burst` of it.
  SELECT k.key, greatest(coalesce(t.had, 0), lane_had.had - :burst::float8) AS had, coalesce(j.weight, 1) AS weight
  FROM (SELECT * FROM keys LIMIT :keys_max) k
  CROSS JOIN LATERAL (SELECT (j.traits ->> 'weight')::float8 AS weight FROM rkyc.job j WHERE j.id = k.job_id OFFSET 0) j
  CROSS JOIN (SELECT f.had FROM rkyc.fair_turn f WHERE f.lane = :lane AND f.key = '') lane_had
  LEFT JOIN LATERAL (SELECT f.had FROM rkyc.fair_turn f WHERE f.lane = :lane AND f.key = k.key OFFSET 0) t ON true
  ORDER BY 2, 1 LIMIT :slots
), chosen AS MATERIALIZED (
  SELECT l.key, l.had, l.weight, w.job_id, w.branch, l.had + (w.number - 1) / l.weight AS turn
  FROM least l CROSS JOIN LATERAL (
    SELECT n.job_id, n.branch, row_number() OVER (ORDER BY n.job_id, n.branch) AS number FROM (
      SELECT w.job_id, w.branch FROM rkyc.waiting w WHERE w.kind = 'fair' AND w.lane = :lane AND w.wake_key = l.key
      ORDER BY w.job_id, w.branch LIMIT :slots
    ) n
  ) w
  ORDER BY turn, w.job_id LIMIT :slots
), picked AS MATERIALIZED (
  -- Passed over: what somebody cancels at this moment.
  SELECT c.*, w.place FROM chosen c CROSS JOIN LATERAL (
    SELECT w.ctid AS place FROM rkyc.waiting w WHERE w.job_id = c.job_id AND w.branch = c.branch AND w.kind = 'fair' FOR UPDATE SKIP LOCKED
  ) w
), taken AS (
  DELETE FROM rkyc.waiting w USING picked p WHERE w.job_id = p.job_id AND w.branch = p.branch
  RETURNING w.*, nextval('rkyc.ready_seq') AS seq
), leased AS (
  INSERT INTO rkyc.running (job_id, branch, fence, worker_id, lane, step, events, error_attempts, crash_attempts,
                            alone_crashes, started_at, step_started_at, claimed_at)
  SELECT job_id, branch, seq, :worker_id, lane, step, events, error_attempts, crash_attempts, alone_crashes,
         coalesce(started_at, :now), coalesce(step_started_at, :now), :now
  FROM taken
), charged AS (
  INSERT INTO rkyc.fair_turn (lane, key, had, updated_at)
  SELECT :lane, p.key, max(p.turn + 1 / p.weight), :now FROM picked p GROUP BY p.key
  UNION ALL SELECT :lane, '', max(p.turn), :now FROM picked p HAVING count(*) > 0
  ON CONFLICT (lane, key) DO UPDATE SET had = greatest(rkyc.fair_turn.had, excluded.had), updated_at = excluded.updated_at
)
SELECT t.job_id, t.branch, t.seq AS fence, t.lane, t.step, t.events, t.error_attempts, t.crash_attempts, t.alone_crashes,
  date_part('epoch', coalesce(t.step_started_at, :now)) AS step_started_at,
  j.uuid, j.pipeline, j.version, j.input, CASE WHEN j.deadline_at < '9999-12-31' THEN j.deadline_at END AS deadline_at,
  rkyc.outputs_of(t.job_id, t.branch) AS outputs, t.started_at IS NULL AS is_fresh, j.lane AS job_lane, j.traits
FROM taken t CROSS JOIN LATERAL (SELECT * FROM rkyc.job j WHERE j.id = t.job_id OFFSET 0) j
ORDER BY t.job_id;

-- name: prune_turns
-- Keys that have had nothing for a day: they come back as new ones, a burst behind the others.
DELETE FROM rkyc.fair_turn WHERE key <> '' AND updated_at < :now::timestamptz - interval '1 day';
