-- The jobs of a pipeline, newest first, by an index that no look-up of one job can take for its own: as long as `job` is
-- empty, a planner before Postgres 18 finds the whole of (pipeline, id) as cheap to walk as the primary key, and keeps the
-- plan. Locks `job` against writers while the index is built: on a large table build it before, CONCURRENTLY.

CREATE INDEX IF NOT EXISTS job_of_pipeline ON rkyc.job (pipeline, (-id));
DROP INDEX rkyc.job_pipeline;
