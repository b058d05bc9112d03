-- name: create_one_table
-- The layout that was not chosen: a job and its state in one row, with an index on those that wait. A reclaim
-- would need one more, on those that run; without it the planner can't mistake it for the way to finish.
CREATE TABLE rkyc.one (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  uuid uuid NOT NULL UNIQUE,
  pipeline text NOT NULL,
  version int NOT NULL,
  lane text NOT NULL,
  step text NOT NULL,
  state text NOT NULL DEFAULT 'pending',
  seq bigint NOT NULL DEFAULT nextval('rkyc.ready_seq'),
  worker_id int,
  events int NOT NULL DEFAULT 0,
  error_attempts smallint NOT NULL DEFAULT 0,
  crash_attempts smallint NOT NULL DEFAULT 0,
  input jsonb NOT NULL,
  result jsonb,
  created_at timestamptz NOT NULL,
  started_at timestamptz,
  finished_at timestamptz
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX one_pending ON rkyc.one (lane, seq) WHERE state = 'pending';
CREATE INDEX one_finished ON rkyc.one (finished_at);
CREATE INDEX one_pipeline ON rkyc.one (pipeline, id DESC);

-- name: enqueue_into_one
INSERT INTO rkyc.one (uuid, pipeline, version, lane, step, input, created_at)
SELECT w.uuid, :pipeline, v.version, :lane, v.first_step, w.input::jsonb, clock_timestamp()
FROM rkyc.pipeline_version v CROSS JOIN unnest(:uuids::uuid[], :inputs::text[]) AS w(uuid, input) WHERE v.name = :pipeline;

-- name: claim_in_one
-- pending -> running
WITH picked AS MATERIALIZED (
  SELECT o.ctid AS place FROM rkyc.one o WHERE o.lane = :lane AND o.state = 'pending' AND o.seq > :after
  ORDER BY o.seq LIMIT :slots FOR UPDATE SKIP LOCKED
)
UPDATE rkyc.one o SET state = 'running', worker_id = :worker_id, started_at = :now
WHERE o.ctid = ANY (ARRAY(SELECT place FROM picked))
RETURNING 0 AS xmin, 0 AS bound, o.id AS job_id, 0 AS branch, o.seq AS fence, o.uuid, o.pipeline, o.version, o.input;

-- name: finish_in_one
-- running -> completed
UPDATE rkyc.one o SET state = 'completed', result = d.output::jsonb, finished_at = :now
FROM unnest(:job_ids::bigint[], :fences::bigint[], :outputs::text[]) AS d(job_id, fence, output)
WHERE o.id = d.job_id AND o.seq = d.fence AND o.worker_id = :worker_id AND o.state = 'running'
RETURNING o.id, 0;
