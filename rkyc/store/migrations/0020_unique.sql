-- Unique jobs: who holds a key. It only creates tables: no lock on anything that exists.

-- The row that those who ask for one key wait for; it says nothing of who holds it.
CREATE TABLE rkyc.unique_key (
  key text PRIMARY KEY CHECK (length(key) BETWEEN 1 AND 255),
  asked_at timestamptz NOT NULL
) WITH (fillfactor = 80);

-- On what terms a job holds a key. Whether it still does is read from the job's own rows, so that the commit
-- that moves a job frees its key: no row here needs to change with it.
CREATE TABLE rkyc.unique_holder (
  key text NOT NULL,
  job_id bigint NOT NULL,
  held_while text NOT NULL CHECK (held_while IN ('pending', 'running', 'unfinished', 'period')),
  until timestamptz,
  PRIMARY KEY (key, job_id),
  CHECK ((until IS NOT NULL) = (held_while = 'period'))
);
