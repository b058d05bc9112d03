-- name: find_newest
SELECT coalesce((SELECT j.id FROM rkyc.job j ORDER BY j.id DESC LIMIT 1), 0);

-- name: fill_jobs
-- Jobs numbered above the newest, one a second, the last one an hour ago. The ids rise as UUIDv7 do.
INSERT INTO rkyc.job (id, uuid, pipeline, version, lane, input, created_at) OVERRIDING SYSTEM VALUE
SELECT id, (lpad(to_hex(id), 12, '0') || '70008000' || lpad(to_hex(id), 12, '0'))::uuid, 'noop', 1, 'default',
  '{"n": 1}', clock_timestamp() - make_interval(secs => 3600 + :newest::bigint + :rows::bigint - id)
FROM generate_series(:newest + 1, :newest + :rows) id;

-- name: fill_history
-- All of them are finished.
INSERT INTO rkyc.history (job_id, state, seq, step, attempt, fence, worker_id, result, started_at, step_started_at, finished_at)
SELECT id, 'completed', 2, 's1', 1, id, 1, '{"n": 1}', at, at, at
FROM (SELECT id, clock_timestamp() - make_interval(secs => 3600 + :newest::bigint + :rows::bigint - id) AS at
      FROM generate_series(:newest + 1, :newest + :rows) id) newest;

-- name: fill_checkpoints
-- Each had one step before its last.
INSERT INTO rkyc.checkpoint (job_id, seq, branch, step, next_step, attempt, fence, worker_id, output, started_at, finished_at)
SELECT id, 1, 0, 's0', 's1', 1, id, 1, '{"n": 1}', at, at
FROM (SELECT id, clock_timestamp() - make_interval(secs => 3600 + :newest::bigint + :rows::bigint - id) AS at
      FROM generate_series(:newest + 1, :newest + :rows) id) newest;

-- name: fill_scheduled
-- They fall due one a second, from tomorrow on.
INSERT INTO rkyc.scheduled (due_at, reason, lane, job_id, step)
SELECT clock_timestamp() + interval '1 day' + make_interval(secs => id - :newest), 'scheduled', 'default', id, 's0'
FROM generate_series(:newest::bigint + 1, :newest + :rows::bigint) id;

-- name: move_numbers
-- The next job and the next task take numbers above the ones that were filled in.
SELECT setval(pg_get_serial_sequence('rkyc.job', 'id'), :newest::bigint), setval('rkyc.ready_seq', greatest(:newest, s.last_value))
FROM rkyc.ready_seq s;
