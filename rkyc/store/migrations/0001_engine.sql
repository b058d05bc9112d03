-- The engine's tables. Takes no lock on anything that exists: it creates the schema.
--
-- A job's state is which tables hold its rows. `job` never changes. A task (job_id, branch) stands in
-- exactly one of ready, running, scheduled, waiting; moving it is delete-and-insert in one statement.
-- What is done is appended: checkpoint, event, history. Users read the views at the end, not the tables.

CREATE SCHEMA IF NOT EXISTS rkyc;

CREATE TABLE rkyc.schema_version (
  number int PRIMARY KEY,
  name text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE DOMAIN rkyc.job_state AS text
  CHECK (VALUE IN ('pending', 'running', 'completed', 'failed', 'cancelled'));
CREATE DOMAIN rkyc.step_state AS text
  CHECK (VALUE IN ('pending', 'running', 'completed', 'failed', 'skipped', 'cancelled'));

CREATE TABLE rkyc.lane (
  name text PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9_.-]{0,62}$'),
  rank smallint NOT NULL
);
INSERT INTO rkyc.lane VALUES ('high', 0), ('default', 1), ('low', 2);

CREATE TABLE rkyc.pipeline_version (
  name text NOT NULL,
  version int NOT NULL,
  graph jsonb NOT NULL,
  first_step text NOT NULL,
  first_lane text,
  registered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (name, version)
);

CREATE TABLE rkyc.job (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  uuid uuid NOT NULL UNIQUE,
  pipeline text NOT NULL,
  version int NOT NULL,
  lane text NOT NULL,
  input jsonb NOT NULL,
  metadata jsonb NOT NULL DEFAULT '{}',
  idempotency_key text,
  deadline_at timestamptz,
  webhook_url text,
  budget_usd numeric(12, 6),
  created_at timestamptz NOT NULL
);
CREATE INDEX job_pipeline ON rkyc.job (pipeline, id DESC);

-- Uniqueness of keys stands apart, so that `job` may be partitioned one day.
CREATE TABLE rkyc.idempotency (
  key text PRIMARY KEY CHECK (length(key) BETWEEN 1 AND 255),
  job_uuid uuid NOT NULL,
  request_sha256 bytea NOT NULL,
  created_at timestamptz NOT NULL
);

-- The four hot tables. Every arrival in `ready` takes a new number, which becomes the fence of the
-- lease. The number is drawn after the transaction has its xid (the job row, or the deleted row,
-- comes first); the claim's cursor rests on that order. CACHE 1 is needed for the same reason.
CREATE SEQUENCE rkyc.ready_seq CACHE 1;

CREATE TABLE rkyc.ready (
  lane text NOT NULL,
  seq bigint NOT NULL DEFAULT nextval('rkyc.ready_seq'),
  job_id bigint NOT NULL,
  branch int NOT NULL DEFAULT 0,
  step text NOT NULL,
  events int NOT NULL DEFAULT 0,
  error_attempts smallint NOT NULL DEFAULT 0,
  crash_attempts smallint NOT NULL DEFAULT 0,
  alone_crashes smallint NOT NULL DEFAULT 0,
  started_at timestamptz,
  step_started_at timestamptz,
  PRIMARY KEY (lane, seq)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX ready_job ON rkyc.ready (job_id);

CREATE TABLE rkyc.running (
  job_id bigint NOT NULL,
  branch int NOT NULL,
  fence bigint NOT NULL,
  worker_id int NOT NULL,
  lane text NOT NULL,
  step text NOT NULL,
  events int NOT NULL,
  error_attempts smallint NOT NULL,
  crash_attempts smallint NOT NULL,
  alone_crashes smallint NOT NULL,
  alone boolean NOT NULL DEFAULT false,
  started_at timestamptz NOT NULL,
  step_started_at timestamptz NOT NULL,
  claimed_at timestamptz NOT NULL,
  PRIMARY KEY (job_id, branch)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE rkyc.scheduled (
  due_at timestamptz NOT NULL,
  reason text NOT NULL CHECK (reason IN ('scheduled', 'retry_backoff', 'sleep')),
  lane text NOT NULL,
  job_id bigint NOT NULL,
  branch int NOT NULL DEFAULT 0,
  step text NOT NULL,
  events int NOT NULL DEFAULT 0,
  error_attempts smallint NOT NULL DEFAULT 0,
  crash_attempts smallint NOT NULL DEFAULT 0,
  alone_crashes smallint NOT NULL DEFAULT 0,
  started_at timestamptz,
  step_started_at timestamptz,
  error_code text,
  error_message text,
  PRIMARY KEY (job_id, branch)
);
CREATE INDEX scheduled_due ON rkyc.scheduled (due_at);

-- Held back until something happens: a worker that serves the version, a process set aside for suspects.
CREATE TABLE rkyc.waiting (
  kind text NOT NULL CHECK (kind IN ('no_worker', 'version_blocked', 'suspect')),
  wake_key text NOT NULL,
  lane text NOT NULL,
  job_id bigint NOT NULL,
  branch int NOT NULL DEFAULT 0,
  step text NOT NULL,
  events int NOT NULL DEFAULT 0,
  error_attempts smallint NOT NULL DEFAULT 0,
  crash_attempts smallint NOT NULL DEFAULT 0,
  alone_crashes smallint NOT NULL DEFAULT 0,
  started_at timestamptz,
  step_started_at timestamptz,
  since timestamptz NOT NULL,
  PRIMARY KEY (job_id, branch)
);
CREATE INDEX waiting_key ON rkyc.waiting (kind, wake_key);

-- The durable output of a completed step. `seq` numbers what happened in a job: a chain's worker counts
-- under its lease; the branches of a job count on its `branching` row.
CREATE TABLE rkyc.checkpoint (
  job_id bigint NOT NULL,
  seq int NOT NULL,
  branch int NOT NULL,
  step text NOT NULL,
  next_step text,
  attempt smallint NOT NULL,
  fence bigint NOT NULL,
  worker_id int NOT NULL,
  output jsonb,
  degraded boolean NOT NULL DEFAULT false,
  warnings jsonb,
  metadata jsonb,
  started_at timestamptz NOT NULL,
  finished_at timestamptz NOT NULL,
  PRIMARY KEY (job_id, seq)
);

-- Only what leaves no row elsewhere: a retry, a reclaim, a retry by a person.
CREATE TABLE rkyc.event (
  job_id bigint NOT NULL,
  seq int NOT NULL,
  type text NOT NULL,
  branch int NOT NULL DEFAULT 0,
  step text,
  attempt smallint,
  worker_id int,
  data jsonb,
  at timestamptz NOT NULL,
  PRIMARY KEY (job_id, seq)
);

CREATE TABLE rkyc.history (
  job_id bigint PRIMARY KEY,
  state rkyc.job_state NOT NULL CHECK (state IN ('completed', 'failed', 'cancelled')),
  seq int NOT NULL,
  branch int NOT NULL DEFAULT 0,
  step text,
  attempt smallint NOT NULL DEFAULT 0,
  fence bigint,
  worker_id int,
  result jsonb,
  degraded boolean NOT NULL DEFAULT false,
  warnings jsonb,
  metadata jsonb,
  error_code text,
  error_class text CHECK (error_class IN ('retryable', 'permanent', 'partial')),
  error_message text CHECK (length(error_message) <= 500),
  error_details jsonb,
  error_attempts smallint NOT NULL DEFAULT 0,
  crash_attempts smallint NOT NULL DEFAULT 0,
  -- The tasks that were left to do: where a retry by a person goes on.
  open_tasks jsonb,
  started_at timestamptz,
  step_started_at timestamptz,
  finished_at timestamptz NOT NULL,
  CHECK ((state = 'failed') = (error_code IS NOT NULL))
);
CREATE INDEX history_finished ON rkyc.history (finished_at);

CREATE TABLE rkyc.dead_letter (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  queue text NOT NULL,
  job_id bigint NOT NULL,
  step text NOT NULL,
  reason text NOT NULL CHECK (reason IN ('task_failed', 'ttl_expired', 'worker_lost')),
  state text NOT NULL DEFAULT 'dead' CHECK (state IN ('dead', 'requeued', 'archived', 'discarded')),
  error_code text NOT NULL,
  error_message text,
  at timestamptz NOT NULL
);
CREATE INDEX dead_letter_job ON rkyc.dead_letter (job_id);

-- A job whose pipeline forked: its lock and its counter of events.
CREATE TABLE rkyc.branching (
  job_id bigint PRIMARY KEY,
  events int NOT NULL
);
CREATE TABLE rkyc.join_point (
  job_id bigint NOT NULL,
  step text NOT NULL,
  branch int NOT NULL,
  remaining int NOT NULL CHECK (remaining >= 0),
  PRIMARY KEY (job_id, step)
);

-- Answers of calls made inside steps: once here, no crash and no retry asks again.
CREATE TABLE rkyc.journal (
  job_id bigint NOT NULL,
  step text NOT NULL,
  branch int NOT NULL,
  name text NOT NULL,
  answer jsonb,
  provider text,
  model text,
  tokens_in int,
  tokens_out int,
  cost_usd numeric(12, 6),
  ms int NOT NULL,
  worker_id int NOT NULL,
  at timestamptz NOT NULL,
  PRIMARY KEY (job_id, step, branch, name)
);

CREATE TABLE rkyc.blob (
  sha256 text PRIMARY KEY CHECK (sha256 ~ '^[0-9a-f]{64}$'),
  size bigint NOT NULL,
  media_type text NOT NULL,
  chunks int NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  touched_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE rkyc.blob_chunk (
  sha256 text NOT NULL,
  number int NOT NULL,
  data bytea NOT NULL,
  PRIMARY KEY (sha256, number)
);
ALTER TABLE rkyc.blob_chunk ALTER COLUMN data SET STORAGE EXTERNAL;

-- One row per process. It is logged, unlike `boot`: its names stand in the views, on a standby too, and
-- a beat every 10 s costs nothing.
CREATE TABLE rkyc.worker (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL,
  host text NOT NULL,
  pid int NOT NULL,
  version text NOT NULL,
  lanes text[] NOT NULL,
  slots int NOT NULL,
  busy int NOT NULL DEFAULT 0,
  for_suspects boolean NOT NULL DEFAULT false,
  presence_at timestamptz,
  started_at timestamptz NOT NULL,
  beat_at timestamptz NOT NULL,
  ended_at timestamptz
) WITH (fillfactor = 50);
CREATE INDEX worker_alive ON rkyc.worker (id) WHERE ended_at IS NULL;

-- Emptied by a crash of the server: an empty table tells that all presences are gone without anyone's death.
CREATE UNLOGGED TABLE rkyc.boot (
  singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  at timestamptz NOT NULL
);

CREATE FUNCTION rkyc.uuid7(at timestamptz) RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
  -- Version 4 with the time laid over its first 48 bits, and the version's two bits raised to 7.
  SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
    PLACING substring(int8send(floor(extract(epoch FROM at) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid
$$;

CREATE FUNCTION rkyc.enqueue(
  pipeline text, input jsonb, lane text DEFAULT 'default',
  idempotency_key text DEFAULT NULL, run_at timestamptz DEFAULT NULL
) RETURNS uuid LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
  pinned rkyc.pipeline_version;
  at timestamptz := clock_timestamp();
  new_uuid uuid := rkyc.uuid7(at);
  new_id bigint;
  request bytea;
  known rkyc.idempotency;
  task_lane text;
BEGIN
  SELECT v.* INTO pinned FROM rkyc.pipeline_version v WHERE v.name = pipeline ORDER BY v.version DESC LIMIT 1;
  IF pinned.name IS NULL THEN
    RAISE EXCEPTION 'no pipeline is called %', quote_nullable(pipeline) USING ERRCODE = 'RK001',
      HINT = 'start a worker that serves it once (rkyc serve --app MODULE:REGISTRY), or correct the name';
  END IF;
  IF input IS NULL THEN
    RAISE EXCEPTION 'input is null' USING ERRCODE = 'RK003', HINT = 'pass a JSON object, e.g. ''{}''';
  END IF;
  IF octet_length(input::text) > 2000000 THEN
    RAISE EXCEPTION 'input has % bytes, at most 2000000 are taken', octet_length(input::text) USING ERRCODE = 'RK004',
      HINT = 'store it as a blob (POST /api/v1/blobs) and pass its sha256';
  END IF;
  IF NOT EXISTS (SELECT FROM rkyc.lane l WHERE l.name = lane) THEN
    RAISE EXCEPTION 'no lane is called %', quote_nullable(lane) USING ERRCODE = 'RK002',
      HINT = (SELECT 'expected one of ' || string_agg(l.name, ', ' ORDER BY l.rank, l.name) FROM rkyc.lane l);
  END IF;
  IF idempotency_key IS NOT NULL THEN
    request := sha256(convert_to(pipeline || ' ' || input::text, 'UTF8'));
    INSERT INTO rkyc.idempotency VALUES (idempotency_key, new_uuid, request, at) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
      SELECT i.* INTO known FROM rkyc.idempotency i WHERE i.key = idempotency_key;
      IF known.request_sha256 <> request THEN
        RAISE EXCEPTION 'idempotency key % was used with another input', quote_literal(idempotency_key) USING ERRCODE = 'RK005',
          HINT = 'use a new key for a new request';
      END IF;
      RETURN known.job_uuid;
    END IF;
  END IF;
  INSERT INTO rkyc.job (uuid, pipeline, version, lane, input, idempotency_key, created_at)
    VALUES (new_uuid, pipeline, pinned.version, lane, input, idempotency_key, at) RETURNING id INTO new_id;
  task_lane := coalesce(pinned.first_lane, lane);
  IF run_at > at THEN
    INSERT INTO rkyc.scheduled (due_at, reason, lane, job_id, step) VALUES (run_at, 'scheduled', task_lane, new_id, pinned.first_step);
  ELSE
    INSERT INTO rkyc.ready (lane, job_id, step) VALUES (task_lane, new_id, pinned.first_step);
  END IF;
  -- Sent when the caller's transaction commits; Postgres folds equal ones of a transaction into one.
  PERFORM pg_notify('rkyc_wake', CASE WHEN run_at > at THEN 'due' ELSE task_lane END);
  RETURN new_uuid;
END $$;
