-- Tasks that wait too long to start, and signs of life of long steps. It creates tables and changes the two functions that
-- enqueue; takes no lock on anything that a claim or a commit uses.

-- How long a step may wait to start, as its code declares it; `lane` is NULL where the job says it.
CREATE TABLE rkyc.start_limit (
  pipeline text NOT NULL,
  version int NOT NULL,
  step text NOT NULL,
  lane text,
  seconds float8 NOT NULL CHECK (seconds > 0),
  PRIMARY KEY (pipeline, version, step)
);

-- The number that `ready` had reached at an instant: whatever has a lower one stood there before. Written only while some
-- lane or step has a limit, so that no task pays for a time of arrival.
CREATE TABLE rkyc.ready_mark (
  at timestamptz PRIMARY KEY,
  seq bigint NOT NULL
);

-- What a long step said last; written at most once a second, and only by steps that declare a heartbeat.
CREATE TABLE rkyc.heartbeat (
  job_id bigint NOT NULL,
  branch int NOT NULL,
  step text NOT NULL,
  attempt smallint NOT NULL,
  details jsonb,
  at timestamptz NOT NULL,
  PRIMARY KEY (job_id, branch)
) WITH (fillfactor = 70);

-- A job that was to run later says when: its wait for a worker begins then, not when it was made.
DO $$
DECLARE
  was text;
  one text := pg_get_functiondef('rkyc.enqueue(text, jsonb, text, text, timestamptz)'::regprocedure);
  many text := pg_get_functiondef('rkyc.enqueue_many(text, jsonb[], text, timestamptz)'::regprocedure);
  run_at text := $q$CASE WHEN run_at > at THEN jsonb_build_object('run_at', run_at) END$q$;
BEGIN
  was := one;
  one := replace(one, 'idempotency_key, created_at)' || E'\n', 'idempotency_key, traits, created_at)' || E'\n');
  one := replace(one, 'input, idempotency_key, at) RETURNING', 'input, idempotency_key, ' || run_at || ', at) RETURNING');
  IF length(one) < length(was) + 70 THEN RAISE EXCEPTION 'rkyc.enqueue is not the one that is known'; END IF;
  was := many;
  many := replace(many, 'lane, input, created_at)', 'lane, input, traits, created_at)');
  many := replace(many, 'lane, w.input, at' || E'\n', 'lane, w.input, ' || run_at || ', at' || E'\n');
  IF length(many) < length(was) + 70 THEN RAISE EXCEPTION 'rkyc.enqueue_many is not the one that is known'; END IF;
  EXECUTE one;
  EXECUTE many;
END $$;
