-- How long ended jobs are kept, and search by metadata. Locks `job`, `checkpoint` and `history` against writers while their
-- indexes are built, one after the other, which reads each table once; on large tables build them before, CONCURRENTLY.

CREATE TABLE rkyc.retention (
  pipeline text PRIMARY KEY,
  completed_days float8 CHECK (completed_days > 0),
  failed_days float8 CHECK (failed_days > 0),
  cancelled_days float8 CHECK (cancelled_days > 0)
);

-- Only jobs with metadata are in it, and only they pay: fastupdate gathers their entries, so that an enqueue appends to a
-- list that vacuum and the 4 MB limit of gin_pending_list_limit empty.
CREATE INDEX IF NOT EXISTS job_metadata ON rkyc.job USING gin (metadata jsonb_path_ops) WHERE metadata <> '{}';
CREATE INDEX IF NOT EXISTS checkpoint_metadata ON rkyc.checkpoint USING gin (metadata jsonb_path_ops) WHERE metadata IS NOT NULL;
CREATE INDEX IF NOT EXISTS history_metadata ON rkyc.history USING gin (metadata jsonb_path_ops) WHERE metadata IS NOT NULL;
