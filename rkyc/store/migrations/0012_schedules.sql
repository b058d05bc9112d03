-- Schedules: jobs by the clock. It only creates tables and a view: no lock on anything that exists.

CREATE TABLE rkyc.schedule (
  name text PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9_.-]{0,62}$'),
  pipeline text NOT NULL,
  input jsonb NOT NULL,
  lane text NOT NULL,
  cron text,
  interval_s float8 CHECK (interval_s > 0),
  time_zone text NOT NULL,
  catch_up text NOT NULL CHECK (catch_up IN ('none', 'last', 'all')),
  catch_up_max int NOT NULL CHECK (catch_up_max > 0),
  overlap text NOT NULL CHECK (overlap IN ('skip', 'queue', 'cancel', 'allow')),
  origin text NOT NULL CHECK (origin IN ('code', 'person')),
  paused boolean NOT NULL DEFAULT false,
  -- The first tick that was not looked at yet; NULL: the expression names no more.
  next_fire timestamptz,
  -- The newest tick that was looked at, whether it started a job or was left out.
  last_fire timestamptz,
  -- Under `queue`: whose turn it is; the jobs of later ticks stand in `waiting`.
  turn_job uuid,
  -- Why the newest tick started nothing, when its job was refused.
  last_error text,
  created_at timestamptz NOT NULL,
  CHECK ((cron IS NULL) <> (interval_s IS NULL))
);
CREATE INDEX schedule_due ON rkyc.schedule (next_fire) WHERE NOT paused;

-- One job per schedule and tick, whoever looks and whatever becomes of the schedule's row.
CREATE TABLE rkyc.schedule_fire (
  schedule text NOT NULL,
  tick timestamptz NOT NULL,
  job_uuid uuid NOT NULL,
  by_hand boolean NOT NULL,
  at timestamptz NOT NULL,
  PRIMARY KEY (schedule, tick)
);

CREATE VIEW rkyc.schedule_status AS
SELECT s.name, s.pipeline, s.cron, s.interval_s, s.time_zone, s.paused, s.last_fire, s.next_fire,
  s.lane, s.catch_up, s.overlap, s.origin, f.job_uuid AS last_job_id, s.last_error, s.created_at
FROM rkyc.schedule s
LEFT JOIN LATERAL (
  SELECT f.job_uuid FROM rkyc.schedule_fire f WHERE f.schedule = s.name ORDER BY f.tick DESC LIMIT 1
) f ON true;
