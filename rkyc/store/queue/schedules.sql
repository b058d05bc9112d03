-- name: declare_schedule
-- By code: what a person paused stays paused, and its ticks go on where their timing did not change.
INSERT INTO rkyc.schedule AS s (name, pipeline, input, lane, cron, interval_s, time_zone, catch_up, catch_up_max, overlap, origin,
                                next_fire, created_at)
VALUES (:name, :pipeline, :input::jsonb, :lane, :cron, :interval_s, :time_zone, :catch_up, :catch_up_max, :overlap, 'code',
        :next_fire::timestamptz, clock_timestamp())
ON CONFLICT (name) DO UPDATE SET pipeline = excluded.pipeline, input = excluded.input, lane = excluded.lane, cron = excluded.cron,
  interval_s = excluded.interval_s, time_zone = excluded.time_zone, catch_up = excluded.catch_up,
  catch_up_max = excluded.catch_up_max, overlap = excluded.overlap, origin = excluded.origin,
  next_fire = CASE WHEN (s.cron, s.interval_s, s.time_zone) IS NOT DISTINCT FROM (excluded.cron, excluded.interval_s, excluded.time_zone)
    THEN s.next_fire ELSE excluded.next_fire END
WHERE (s.pipeline, s.input, s.lane, s.cron, s.interval_s, s.time_zone, s.catch_up, s.catch_up_max, s.overlap, s.origin)
  IS DISTINCT FROM (excluded.pipeline, excluded.input, excluded.lane, excluded.cron, excluded.interval_s, excluded.time_zone,
                    excluded.catch_up, excluded.catch_up_max, excluded.overlap, excluded.origin)
RETURNING name;

-- name: add_schedule
INSERT INTO rkyc.schedule (name, pipeline, input, lane, cron, interval_s, time_zone, catch_up, catch_up_max, overlap, origin,
                           next_fire, created_at)
VALUES (:name, :pipeline, :input::jsonb, :lane, :cron, :interval_s, :time_zone, :catch_up, :catch_up_max, :overlap, 'person',
        :next_fire::timestamptz, clock_timestamp())
ON CONFLICT (name) DO NOTHING RETURNING name;

-- name: give_turn_back
-- A schedule that was removed and comes again: the job whose turn it was may still run. OFFSET 0: else a plan may hash all jobs.
UPDATE rkyc.schedule s SET turn_job = (
  SELECT f.job_uuid FROM (
    SELECT job_uuid, tick FROM rkyc.schedule_fire WHERE schedule = :name AND NOT by_hand ORDER BY tick DESC LIMIT 20
  ) f
  CROSS JOIN LATERAL (SELECT j.id, j.traits FROM rkyc.job j WHERE j.uuid = f.job_uuid OFFSET 0) j
  WHERE j.traits ->> 'schedule' = :name AND NOT EXISTS (SELECT FROM rkyc.history h WHERE h.job_id = j.id)
    AND NOT EXISTS (SELECT FROM rkyc.waiting w WHERE w.job_id = j.id AND w.kind = 'turn')
  ORDER BY f.tick DESC LIMIT 1)
WHERE s.name = :name AND s.turn_job IS NULL;

-- name: read_clock
SELECT clock_timestamp();

-- name: list_schedules
SELECT * FROM rkyc.schedule_status ORDER BY name;

-- name: lock_due_schedule
-- The lock makes one process fire it; the others pass it by. One that cancels the job before waits until what that did
-- is undone, and holds up no other.
SELECT s.* FROM rkyc.schedule s
WHERE NOT s.paused AND s.next_fire <= :now AND CASE WHEN s.overlap = 'cancel' THEN NOT EXISTS (
  SELECT FROM (SELECT f.job_uuid FROM rkyc.schedule_fire f WHERE f.schedule = s.name AND NOT f.by_hand ORDER BY f.tick DESC LIMIT 20) f
  CROSS JOIN LATERAL (SELECT j.id FROM rkyc.job j WHERE j.uuid = f.job_uuid OFFSET 0) j
  CROSS JOIN LATERAL (SELECT FROM rkyc.undoing_task u WHERE u.job_id = j.id LIMIT 1) u
) ELSE true END
ORDER BY s.next_fire LIMIT 1 FOR UPDATE OF s SKIP LOCKED;

-- name: lock_schedule
SELECT * FROM rkyc.schedule WHERE name = :name FOR UPDATE;

-- name: lock_schedule_of_job
-- Where it was removed there is nothing to lock, and its name is all that is left: those that wait for a turn go on by it.
SELECT coalesce(s.name, j.traits ->> 'schedule') AS name FROM rkyc.job j
LEFT JOIN LATERAL (SELECT s.name FROM rkyc.schedule s WHERE s.name = j.traits ->> 'schedule' FOR UPDATE) s ON true
WHERE j.id = :job_id;

-- name: find_next_fire
SELECT next_fire FROM rkyc.schedule WHERE NOT paused AND next_fire IS NOT NULL ORDER BY next_fire LIMIT 1;

-- name: list_open_jobs
-- The jobs of the last ticks that have not ended; what a person started counts for itself. OFFSET 0: else a plan may hash all jobs.
SELECT f.job_uuid FROM (
  SELECT job_uuid FROM rkyc.schedule_fire WHERE schedule = :schedule AND NOT by_hand ORDER BY tick DESC LIMIT 20
) f
CROSS JOIN LATERAL (SELECT j.id FROM rkyc.job j WHERE j.uuid = f.job_uuid OFFSET 0) j
WHERE NOT EXISTS (SELECT FROM rkyc.history h WHERE h.job_id = j.id);

-- name: take_tick
INSERT INTO rkyc.schedule_fire (schedule, tick, job_uuid, by_hand, at) VALUES (:schedule, :tick, :job_uuid, :by_hand, clock_timestamp())
ON CONFLICT DO NOTHING RETURNING tick;

-- name: give_tick_back
DELETE FROM rkyc.schedule_fire WHERE schedule = :schedule AND tick = :tick;

-- name: hold_for_turn
-- ready -> waiting, in the transaction that enqueued it
WITH gone AS (
  DELETE FROM rkyc.ready WHERE job_id = (SELECT j.id FROM rkyc.job j WHERE j.uuid = :job_uuid) RETURNING *
)
INSERT INTO rkyc.waiting (kind, wake_key, detail, lane, job_id, branch, step, since)
SELECT 'turn', :wake_key, :detail, lane, job_id, branch, step, :since FROM gone;

-- name: is_turn_free
-- No row: the schedule was removed. Run after the schedule was locked.
-- Not EXISTS: that may be planned as a join of all jobs.
SELECT coalesce((
  SELECT coalesce((SELECT true FROM rkyc.history h WHERE h.job_id = j.id), false) FROM rkyc.job j WHERE j.uuid = s.turn_job
), true) AS is_free FROM rkyc.schedule s WHERE s.name = :schedule;

-- name: pass_turn
-- waiting -> ready, the oldest tick first
WITH picked AS MATERIALIZED (
  SELECT w.ctid AS place FROM rkyc.waiting w WHERE w.kind = 'turn' AND w.wake_key = :wake_key ORDER BY w.since LIMIT 1
  FOR UPDATE SKIP LOCKED
), gone AS (
  DELETE FROM rkyc.waiting WHERE ctid = ANY (ARRAY(SELECT place FROM picked)) RETURNING *
), moved AS (
  INSERT INTO rkyc.ready (lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at)
  SELECT lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at FROM gone
  RETURNING lane, job_id
), noted AS (
  UPDATE rkyc.schedule SET turn_job = (SELECT j.uuid FROM rkyc.job j WHERE j.id = (SELECT m.job_id FROM moved m))
  WHERE name = :schedule AND EXISTS (SELECT FROM moved)
)
SELECT lane FROM moved;

-- name: advance_schedule
UPDATE rkyc.schedule SET next_fire = :next_fire, last_fire = coalesce(:last_fire::timestamptz, last_fire), last_error = :last_error
WHERE name = :name;

-- name: drop_old_fires
-- All but the last ones, which tell what still runs.
DELETE FROM rkyc.schedule_fire WHERE schedule = :schedule AND tick < least(:before::timestamptz, (
  SELECT min(f.tick) FROM (SELECT tick FROM rkyc.schedule_fire WHERE schedule = :schedule ORDER BY tick DESC LIMIT 20) f));

-- name: pause_schedule
UPDATE rkyc.schedule SET paused = true WHERE name = :name RETURNING name;

-- name: resume_schedule
UPDATE rkyc.schedule SET paused = false, next_fire = :next_fire WHERE name = :name AND paused RETURNING name;

-- name: remove_schedule
DELETE FROM rkyc.schedule WHERE name = :name RETURNING name;
