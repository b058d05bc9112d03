-- What operators ask: jobs by status and by company, who holds back vacuum. And one way to compare requests.
-- Takes a lock on job, checkpoint and history that lets readers through and holds back writes while their
-- indexes are built, which reads each table once. The indexes hold few rows, so that enqueue and commits
-- pay for little more than the look at the condition.

CREATE INDEX history_unsuccessful ON rkyc.history (state, job_id) WHERE state <> 'completed';

-- Who is asked about: named at the enqueue, or by a step. The cut keeps any text within what an index takes.
CREATE INDEX job_corp ON rkyc.job USING gin ((ARRAY[left(metadata ->> 'corp_id', 255), left(metadata ->> 'corp', 255)]))
  WHERE metadata ?| '{corp,corp_id}';
CREATE INDEX checkpoint_corp ON rkyc.checkpoint USING gin ((ARRAY[left(metadata ->> 'corp_id', 255), left(metadata ->> 'corp', 255)]))
  WHERE metadata ?| '{corp,corp_id}';
CREATE INDEX history_corp ON rkyc.history USING gin ((ARRAY[left(metadata ->> 'corp_id', 255), left(metadata ->> 'corp', 255)]))
  WHERE metadata ?| '{corp,corp_id}';

-- Who keeps deleted rows from being removed, of all that any role can see: sessions, prepared transactions,
-- replication slots. The oldest holds: order by age_xids DESC, is_origin DESC. Others that began while it
-- ran are as old as it is; is_origin tells whose own transaction that is. `since`, `state` and the query are
-- there for those who may read all statistics (GRANT pg_read_all_stats TO …).
CREATE VIEW rkyc.horizon_holder AS
SELECT 'session' AS kind, a.pid::text AS id, a.usename::text AS owner, a.datname::text AS database,
  nullif(a.application_name, '') AS application,
  CASE WHEN x.is_origin THEN a.backend_xid ELSE a.backend_xmin END AS xid, x.age_xids, x.is_origin,
  a.xact_start AS since, a.state, a.query_start, a.query
FROM pg_stat_activity a
CROSS JOIN LATERAL (
  SELECT greatest(age(a.backend_xid), age(a.backend_xmin)) AS age_xids,
    coalesce(age(a.backend_xid) >= coalesce(age(a.backend_xmin), 0), false) AS is_origin
) x
-- Of another database only who writes counts: its xid is in everybody's snapshots. No database: a standby's feedback.
WHERE a.pid <> pg_backend_pid()
  AND (a.backend_xid IS NOT NULL OR (a.backend_xmin IS NOT NULL AND (a.datid IS NULL OR a.datname = current_database())))
  -- A VACUUM shows a horizon and holds none.
  AND a.pid NOT IN (SELECT v.pid FROM pg_stat_progress_vacuum v)
UNION ALL
SELECT 'prepared', p.gid, p.owner::text, p.database::text, NULL, p.transaction, age(p.transaction), true, p.prepared, NULL, NULL, NULL
FROM pg_prepared_xacts p
UNION ALL
SELECT 'slot', s.slot_name::text, NULL, s.database::text, NULL, s.xmin, age(s.xmin), false, NULL,
  CASE WHEN s.active THEN 'active' ELSE 'inactive' END, NULL, NULL
FROM pg_replication_slots s WHERE s.xmin IS NOT NULL;

-- The request's hash is the same through every door: Postgres makes it of its own text of the input.
CREATE OR REPLACE FUNCTION rkyc.enqueue(
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
      -- An older client hashed in another way: then the job itself tells what was asked for.
      IF known.request_sha256 <> request AND NOT EXISTS (
        SELECT FROM rkyc.job j WHERE j.uuid = known.job_uuid AND j.pipeline = enqueue.pipeline AND j.input::text = enqueue.input::text
      ) THEN
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
