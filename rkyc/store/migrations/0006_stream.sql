-- Tokens on their way to whoever watches, and what a job's history keeps of them. It only creates tables.
--
-- `stream` and `stream_chunk` are UNLOGGED: a crash of the server empties them, and the streams say so. No view
-- reads them. `stream.last_seq` orders the chunks of a job: its row's lock makes them commit in the order of
-- their numbers, whichever processes write them. Numbers begin at the microseconds of the first chunk, so that
-- those of an emptied table never come again.

CREATE UNLOGGED TABLE rkyc.stream (
  job_id bigint PRIMARY KEY,
  first_seq bigint NOT NULL,
  last_seq bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);

-- `number` counts the chunks of an attempt from 0. `is_again`: the attempt is not the first one that emits in its step.
CREATE UNLOGGED TABLE rkyc.stream_chunk (
  job_id bigint NOT NULL,
  seq bigint NOT NULL,
  branch int NOT NULL,
  fence bigint NOT NULL,
  step text NOT NULL,
  attempt smallint NOT NULL,
  number int NOT NULL,
  is_again boolean NOT NULL,
  text text NOT NULL,
  PRIMARY KEY (job_id, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_cost_delay = 0);

-- Where a stream began and ended among the job's events, and how much it was. An attempt has one row of each.
CREATE TABLE rkyc.stream_event (
  job_id bigint NOT NULL,
  seq int NOT NULL,
  fence bigint NOT NULL,
  is_end boolean NOT NULL,
  branch int NOT NULL,
  step text NOT NULL,
  attempt smallint NOT NULL,
  chunks int NOT NULL,
  chars bigint NOT NULL,
  at timestamptz NOT NULL,
  PRIMARY KEY (job_id, seq, fence, is_end)
);
