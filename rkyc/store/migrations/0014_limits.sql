-- How many tasks run at once: one row per place of a limit, held under a lease. It takes no lock on what exists.

-- The sizes that the workers were started with; the last one to start says.
CREATE TABLE rkyc.limit_rule (
  name text PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9_.-]{0,62}$'),
  size int NOT NULL CHECK (size BETWEEN 1 AND 10000),
  declared_at timestamptz NOT NULL
);

-- `scope` is the name, or name:key where each key has places of its own. A place is held by a lease, whose fence
-- never comes again: once the lease is gone, so is the right to the place. `promised_until`: a task was woken for it.
CREATE TABLE rkyc.limit_slot (
  scope text NOT NULL,
  number int NOT NULL,
  name text NOT NULL,
  job_id bigint,
  branch int,
  fence bigint,
  promised_until timestamptz,
  freed_at timestamptz NOT NULL,
  PRIMARY KEY (scope, number),
  CHECK ((job_id IS NULL) = (fence IS NULL) AND (job_id IS NULL) = (branch IS NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX limit_slot_held ON rkyc.limit_slot (job_id) WHERE job_id IS NOT NULL;
