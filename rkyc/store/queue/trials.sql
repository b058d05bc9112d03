-- name: read_standstill
-- What a test waits for: is there anything that this worker will do by itself, and if not, when is something due?
-- `next_tick_at`: of a schedule, or of a lane that starts dead letters again. `has_untold`: events that a handler has yet to get.
WITH tick AS (
  SELECT least(
    (SELECT s.next_fire FROM rkyc.schedule s WHERE NOT s.paused AND s.next_fire IS NOT NULL ORDER BY s.next_fire LIMIT 1),
    (SELECT min(l.redrive_at) FROM rkyc.lane l WHERE l.redrive_every_s IS NOT NULL AND EXISTS (
      SELECT FROM rkyc.dead_letter d WHERE d.queue = 'dlq.' || l.name AND d.state = 'dead' AND d.retry_count < l.redrive_times))
  ) AS at
), told AS (
  SELECT EXISTS (
    SELECT FROM unnest(:topics::text[], :places::bigint[]) l(topic, place)
    WHERE l.place IS NULL OR EXISTS (SELECT FROM rkyc.broadcast b WHERE b.topic = l.topic AND b.id > l.place)
  ) AS has_untold
)
SELECT
  EXISTS (SELECT FROM rkyc.ready r WHERE r.lane = ANY (:lanes::text[])) OR EXISTS (SELECT FROM rkyc.running)
    OR coalesce((SELECT t.at FROM tick t) <= :now::timestamptz, false) OR (SELECT t.has_untold FROM told t) AS is_busy,
  (SELECT t.has_untold FROM told t) AS has_untold,
  (SELECT t.at FROM tick t) AS next_tick_at,
  EXISTS (SELECT FROM rkyc.waiting w WHERE w.kind IN ('no_worker', 'version_blocked', 'suspect') AND w.wake_key = ANY (:wake_keys::text[]))
    AS has_parked,
  EXISTS (SELECT FROM rkyc.waiting) AS has_waiting,
  least((SELECT s.due_at FROM rkyc.scheduled s ORDER BY s.due_at LIMIT 1),
    (SELECT w.due_at FROM rkyc.waiting w WHERE w.due_at IS NOT NULL ORDER BY w.due_at LIMIT 1)) AS next_due_at;

-- name: list_enqueued
SELECT j.uuid, j.input, j.lane FROM rkyc.job j WHERE j.pipeline = :pipeline ORDER BY j.id LIMIT 1000;

-- name: list_unfinished
SELECT j.uuid FROM rkyc.job j WHERE NOT EXISTS (SELECT FROM rkyc.history h WHERE h.job_id = j.id) ORDER BY j.id LIMIT 1000;

-- name: list_ticked
-- The jobs of schedules.
SELECT j.uuid FROM rkyc.job j WHERE j.metadata ? 'schedule' ORDER BY j.id LIMIT 10000;

-- name: say_offset
SELECT set_config('rkyc.kit_offset_s', :offset_s, true);

-- name: shift_new_jobs
-- The clock of a kit is ahead of the server's: what a job is born with (its age, its deadline, its wait for a turn) must be so too.
DO $$
BEGIN
  IF to_regclass('rkyc.kit_clock') IS NULL THEN
    CREATE TABLE rkyc.kit_clock (offset_s float8 NOT NULL);
    INSERT INTO rkyc.kit_clock VALUES (0);
    CREATE FUNCTION rkyc.shift_birth() RETURNS trigger LANGUAGE plpgsql AS $shift$
    DECLARE
      ahead interval := (SELECT make_interval(secs => c.offset_s) FROM rkyc.kit_clock c);
    BEGIN
      IF TG_TABLE_NAME = 'job' THEN
        NEW.created_at := NEW.created_at + ahead;
        NEW.deadline_at := NEW.deadline_at + ahead;
      ELSE
        NEW.since := NEW.since + ahead;
      END IF;
      RETURN NEW;
    END $shift$;
    CREATE TRIGGER shift_birth BEFORE INSERT ON rkyc.job FOR EACH ROW EXECUTE FUNCTION rkyc.shift_birth();
    CREATE TRIGGER shift_birth BEFORE INSERT ON rkyc.waiting FOR EACH ROW WHEN (NEW.kind = 'fair')
      EXECUTE FUNCTION rkyc.shift_birth();
  END IF;
  UPDATE rkyc.kit_clock SET offset_s = current_setting('rkyc.kit_offset_s')::float8;
END $$;

-- name: list_all
SELECT j.uuid FROM rkyc.job j ORDER BY j.id LIMIT 10000;
