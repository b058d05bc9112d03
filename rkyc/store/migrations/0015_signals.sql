-- Signals to one job, events to all that wait for a topic. Locks `waiting` for a moment, to add a column.
--
-- Whoever waits and whoever sends lock one common row first (the job's, the topic's) and look afterwards, in
-- another statement: one of the two sees the other, and no wake-up is lost.

CREATE TABLE rkyc.signal (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  job_id bigint NOT NULL,
  name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
  payload jsonb,
  -- Who sent it: api, cli, sql, webhook, client.
  source text NOT NULL,
  -- The sender's own number of a delivery: it counts once, however often it comes.
  delivery_id text CHECK (length(delivery_id) BETWEEN 1 AND 200),
  at timestamptz NOT NULL,
  taken_at timestamptz,
  taken_by text
);
CREATE INDEX signal_of_job ON rkyc.signal (job_id, id);
CREATE INDEX signal_untaken ON rkyc.signal (job_id, name, id) WHERE taken_at IS NULL;
CREATE UNIQUE INDEX signal_delivery ON rkyc.signal (job_id, name, delivery_id) WHERE delivery_id IS NOT NULL;

-- The row that publishers and waiters of a topic lock.
CREATE TABLE rkyc.topic (name text PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 200));

-- Numbers of a topic commit in their order: its row is locked before they are drawn.
CREATE TABLE rkyc.published (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  topic text NOT NULL,
  payload jsonb,
  at timestamptz NOT NULL
);
CREATE INDEX published_topic ON rkyc.published (topic, id);

-- What an event's payload must hold to wake the task; of other kinds of waits NULL.
ALTER TABLE rkyc.waiting ADD COLUMN match jsonb;

-- Returns given, repeated (the delivery is known), ended or unknown (nothing was done).
CREATE FUNCTION rkyc.give_signal(job uuid, name text, payload jsonb, source text, delivery_id text)
RETURNS text LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
  number bigint;
  given bigint;
  woken text;
BEGIN
  -- Each statement must see what committed while the one before it waited for the lock.
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'a signal can''t be sent in a transaction of isolation level %', current_setting('transaction_isolation')
      USING ERRCODE = 'RK008', HINT = 'send it in a transaction of the level read committed';
  END IF;
  -- The lock that a task takes before it waits for a signal.
  SELECT j.id INTO number FROM rkyc.job j WHERE j.uuid = job FOR NO KEY UPDATE;
  IF number IS NULL THEN
    RETURN 'unknown';
  END IF;
  IF delivery_id IS NOT NULL AND EXISTS (
    SELECT FROM rkyc.signal s WHERE s.job_id = number AND s.name = give_signal.name AND s.delivery_id = give_signal.delivery_id
  ) THEN
    RETURN 'repeated';
  END IF;
  IF EXISTS (SELECT FROM rkyc.history h WHERE h.job_id = number) THEN
    RETURN 'ended';
  END IF;
  INSERT INTO rkyc.signal (job_id, name, payload, source, delivery_id, at)
    VALUES (number, name, payload, source, delivery_id, clock_timestamp()) RETURNING id INTO given;
  -- waiting -> ready
  FOR woken IN
    WITH gone AS (
      DELETE FROM rkyc.waiting w WHERE w.job_id = number AND w.kind = 'signal' AND w.wake_key = give_signal.name RETURNING *
    )
    INSERT INTO rkyc.ready (lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at)
    SELECT g.lane, g.job_id, g.branch, g.step, g.events, g.error_attempts, g.crash_attempts, g.alone_crashes, g.started_at, g.step_started_at
    FROM gone g RETURNING lane
  LOOP
    PERFORM pg_notify('rkyc_wake', woken);
  END LOOP;
  RETURN 'given';
END $$;

CREATE FUNCTION rkyc.signal(job uuid, name text, payload jsonb DEFAULT NULL, delivery_id text DEFAULT NULL)
RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
  said text;
BEGIN
  IF octet_length(payload::text) > 2000000 THEN
    RAISE EXCEPTION 'payload has % bytes, at most 2000000 are taken', octet_length(payload::text) USING ERRCODE = 'RK004',
      HINT = 'store it as a blob (POST /api/v1/blobs) and pass its sha256';
  END IF;
  said := rkyc.give_signal(job, name, payload, 'sql', delivery_id);
  IF said = 'unknown' THEN
    RAISE EXCEPTION 'no job %', job USING ERRCODE = 'RK006', HINT = 'select job_id from rkyc.job_status shows those that are kept';
  ELSIF said = 'ended' THEN
    RAISE EXCEPTION 'job % has ended: it takes no signal any more', job USING ERRCODE = 'RK007',
      HINT = 'only a job that is pending or running waits for signals';
  END IF;
  RETURN said = 'given';
END $$;
