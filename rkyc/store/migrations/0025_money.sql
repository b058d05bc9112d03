-- Rates of starts and of calls, what jobs may spend, and who is asked no more for a while. It takes no lock on what exists.

-- `full_at`: when all that was let in has drained at the bucket's rate. One instant is the whole bucket.
CREATE TABLE rkyc.limit_bucket (
  scope text PRIMARY KEY,
  full_at timestamptz NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);

-- A start or a call that was let in for a later time: the task waits for it without a slot.
CREATE TABLE rkyc.limit_grant (
  job_id bigint NOT NULL,
  branch int NOT NULL,
  purpose text NOT NULL,
  start_at timestamptz NOT NULL,
  PRIMARY KEY (job_id, branch, purpose)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);

-- What was added to a job's budget after its start.
CREATE TABLE rkyc.job_budget (
  job_id bigint PRIMARY KEY,
  added_usd numeric(12, 6) NOT NULL
);

-- A provider that failed again and again. Without a row, or without `open_until`, it is asked.
CREATE TABLE rkyc.breaker (
  name text PRIMARY KEY,
  failures int NOT NULL,
  trips int NOT NULL DEFAULT 0,
  failed_at timestamptz NOT NULL,
  open_until timestamptz,
  probe_until timestamptz
) WITH (fillfactor = 50);

INSERT INTO rkyc.reason VALUES
  ('fair', 'waits for its turn since {since}: {detail}', 'nothing: keys that have had less are before it');
