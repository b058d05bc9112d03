-- Change in flight: jobs made of other jobs, checkpoints that another run replaced, and under which declarations
-- (step version, prompts, models) a worker made its checkpoints. Takes no lock on anything that exists.

-- A job that began with what another has done.
CREATE TABLE rkyc.lineage (
  job_id bigint PRIMARY KEY,
  source_id bigint NOT NULL,
  kind text NOT NULL CHECK (kind IN ('fork', 'rerun', 'continue')),
  at timestamptz NOT NULL
);
CREATE INDEX lineage_source ON rkyc.lineage (source_id);

-- Checkpoints that no longer count, since a person started the job again before them. `was_result`: the last step's.
CREATE TABLE rkyc.superseded_checkpoint (
  job_id bigint NOT NULL,
  seq int NOT NULL,
  branch int NOT NULL,
  step text NOT NULL,
  next_step text,
  attempt smallint NOT NULL,
  fence bigint NOT NULL,
  worker_id int NOT NULL,
  output jsonb,
  degraded boolean NOT NULL,
  warnings jsonb,
  metadata jsonb,
  started_at timestamptz NOT NULL,
  finished_at timestamptz NOT NULL,
  was_result boolean NOT NULL,
  superseded_at timestamptz NOT NULL,
  PRIMARY KEY (job_id, seq)
);

-- What the steps of a pipeline version declared of themselves, each time it was another: {step: [text, …]}. Which of
-- these a checkpoint was made under is known by its worker, so that a step pays nothing for it.
CREATE TABLE rkyc.pipeline_edition (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL,
  version int NOT NULL,
  sha256 text NOT NULL,
  identities jsonb NOT NULL,
  registered_at timestamptz NOT NULL,
  UNIQUE (name, version, sha256)
);
CREATE TABLE rkyc.worker_edition (
  worker_id int NOT NULL REFERENCES rkyc.worker (id) ON DELETE CASCADE,
  edition_id int NOT NULL REFERENCES rkyc.pipeline_edition (id),
  PRIMARY KEY (worker_id, edition_id)
);
