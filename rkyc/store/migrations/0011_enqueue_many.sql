-- Many jobs of one pipeline in one call, inside the caller's own transaction. Takes no lock on anything that exists.

CREATE FUNCTION rkyc.enqueue_many(
  pipeline text, inputs jsonb[], lane text DEFAULT 'default', run_at timestamptz DEFAULT NULL
) RETURNS SETOF uuid LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
  pinned rkyc.pipeline_version;
  at timestamptz := clock_timestamp();
  uuids uuid[];
  task_lane text;
  worst int;
BEGIN
  SELECT v.* INTO pinned FROM rkyc.pipeline_version v WHERE v.name = pipeline ORDER BY v.version DESC LIMIT 1;
  IF pinned.name IS NULL THEN
    RAISE EXCEPTION 'no pipeline is called %', quote_nullable(pipeline) USING ERRCODE = 'RK001',
      HINT = 'start a worker that serves it once (rkyc serve --app MODULE:REGISTRY), or correct the name';
  END IF;
  IF NOT EXISTS (SELECT FROM rkyc.lane l WHERE l.name = lane) THEN
    RAISE EXCEPTION 'no lane is called %', quote_nullable(lane) USING ERRCODE = 'RK002',
      HINT = (SELECT 'expected one of ' || string_agg(l.name, ', ' ORDER BY l.rank, l.name) FROM rkyc.lane l);
  END IF;
  IF inputs IS NULL OR array_position(inputs, NULL) IS NOT NULL THEN
    RAISE EXCEPTION 'an input is null' USING ERRCODE = 'RK003', HINT = 'pass an array of JSON objects, e.g. ARRAY[''{}''::jsonb]';
  END IF;
  SELECT max(octet_length(i.input::text)), array_agg(rkyc.uuid7(at)) INTO worst, uuids FROM unnest(inputs) i(input);
  IF worst > 2000000 THEN
    RAISE EXCEPTION 'an input has % bytes, at most 2000000 are taken', worst USING ERRCODE = 'RK004',
      HINT = 'store it as a blob (POST /api/v1/blobs) and pass its sha256';
  END IF;
  task_lane := coalesce(pinned.first_lane, lane);
  -- The job rows come first: the transaction has its xid before `ready` draws numbers.
  WITH new_job AS (
    INSERT INTO rkyc.job (uuid, pipeline, version, lane, input, created_at)
    SELECT w.uuid, pipeline, pinned.version, lane, w.input, at
    FROM unnest(uuids, inputs) WITH ORDINALITY AS w(uuid, input, number) ORDER BY w.number RETURNING id
  ), later AS (
    INSERT INTO rkyc.scheduled (due_at, reason, lane, job_id, step)
    SELECT run_at, 'scheduled', task_lane, j.id, pinned.first_step FROM new_job j WHERE run_at > at
  )
  INSERT INTO rkyc.ready (lane, job_id, step)
  SELECT task_lane, j.id, pinned.first_step FROM new_job j WHERE run_at IS NULL OR run_at <= at;
  IF cardinality(inputs) > 0 THEN
    -- Sent when the caller's transaction commits; Postgres folds equal ones of a transaction into one.
    PERFORM pg_notify('rkyc_wake', CASE WHEN run_at > at THEN 'due' ELSE task_lane END);
  END IF;
  RETURN QUERY SELECT u FROM unnest(uuids) WITH ORDINALITY AS w(u, number) ORDER BY w.number;
END $$;
