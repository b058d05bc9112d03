-- name: create_tables
CREATE TABLE task (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  state smallint NOT NULL DEFAULT 0,
  worker int,
  input jsonb NOT NULL,
  result jsonb,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at timestamptz
) WITH (fillfactor = 70);
CREATE INDEX task_ready ON task (id) WHERE state = 0;
CREATE TABLE saved (
  task_id bigint NOT NULL,
  step smallint NOT NULL,
  output jsonb NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (task_id, step)
);

-- name: insert_tasks
INSERT INTO task (input) SELECT unnest(:inputs::text[])::jsonb RETURNING id;

-- name: enqueue_task
WITH new AS (INSERT INTO task (input) VALUES (:input::text::jsonb) RETURNING id)
SELECT id, pg_notify('bare_wake', '') FROM new;

-- name: claim_tasks
-- 0 -> 1
WITH picked AS (SELECT id FROM task WHERE state = 0 ORDER BY id LIMIT :slots FOR UPDATE SKIP LOCKED)
UPDATE task t SET state = 1, worker = :worker FROM picked p WHERE t.id = p.id RETURNING t.id, t.input, 0 AS step;

-- name: inherit_tasks
-- 1 -> 1, of a worker that died: each at the step after its last one that was saved
UPDATE task t SET worker = :worker WHERE state = 1 AND worker = :dead
RETURNING id, input, (SELECT count(*)::int FROM saved s WHERE s.task_id = t.id) AS step;

-- name: save_outputs
INSERT INTO saved (task_id, step, output)
SELECT d.id, d.step, d.output::jsonb FROM unnest(:ids::bigint[], :steps::int[], :outputs::text[]) AS d(id, step, output);

-- name: finish_tasks
-- 1 -> 2
UPDATE task t SET state = 2, result = d.output::jsonb, finished_at = clock_timestamp()
FROM unnest(:ids::bigint[], :outputs::text[]) AS d(id, output) WHERE t.id = d.id AND t.state = 1 AND t.worker = :worker;

-- name: count_finished
SELECT count(*)::int FROM task WHERE state = 2;

-- name: hold_life
SELECT pg_advisory_lock(7331, :worker::int);
