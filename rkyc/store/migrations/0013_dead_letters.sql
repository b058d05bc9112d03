-- Dead letters with a way back: started again by the lane's policy or by a person, then the archive. And the audit
-- trail. Takes an exclusive lock on `lane` and on `dead_letter` for a moment, and on the latter while its rows (one for
-- each failed job) are put in order and indexed; neither is touched by a claim or by a step that succeeds.

ALTER TABLE rkyc.lane
  ADD COLUMN ttl_s float8 CHECK (ttl_s > 0),
  ADD COLUMN redrive_every_s float8 CHECK (redrive_every_s > 0),
  ADD COLUMN redrive_at_most int NOT NULL DEFAULT 10 CHECK (redrive_at_most > 0),
  ADD COLUMN redrive_times smallint NOT NULL DEFAULT 3 CHECK (redrive_times >= 0),
  ADD COLUMN dead_kept_days float8 NOT NULL DEFAULT 7 CHECK (dead_kept_days > 0),
  -- When the next run is due; without, a run was never planned.
  ADD COLUMN redrive_at timestamptz;

-- One row per job: its next failure finds how often it was started again.
DELETE FROM rkyc.dead_letter d WHERE EXISTS (SELECT FROM rkyc.dead_letter n WHERE n.job_id = d.job_id AND n.id > d.id);
ALTER TABLE rkyc.dead_letter
  ADD COLUMN error_class text NOT NULL DEFAULT 'permanent',
  ADD COLUMN fingerprint text NOT NULL DEFAULT '',
  ADD COLUMN retry_count smallint NOT NULL DEFAULT 0,
  ADD COLUMN archive_queue text,
  ADD COLUMN first_at timestamptz,
  ADD COLUMN expires_at timestamptz;
UPDATE rkyc.dead_letter d SET first_at = d.at, expires_at = d.at + interval '7 days',
  error_class = coalesce((SELECT h.error_class FROM rkyc.history h WHERE h.job_id = d.job_id), 'permanent');
ALTER TABLE rkyc.dead_letter ALTER COLUMN first_at SET NOT NULL, ALTER COLUMN expires_at SET NOT NULL;
ALTER TABLE rkyc.dead_letter ADD CHECK ((state = 'archived') <= (archive_queue IS NOT NULL));
DROP INDEX rkyc.dead_letter_job;
CREATE UNIQUE INDEX dead_letter_job ON rkyc.dead_letter (job_id);
CREATE INDEX dead_letter_dead ON rkyc.dead_letter (queue, at, id) WHERE state = 'dead';
CREATE INDEX dead_letter_kept ON rkyc.dead_letter (state, at, id);
CREATE INDEX dead_letter_group ON rkyc.dead_letter (fingerprint) WHERE state IN ('dead', 'archived');
CREATE INDEX dead_letter_expires ON rkyc.dead_letter (expires_at);

-- What people did, by any door; written in the transaction of the deed.
CREATE TABLE rkyc.audit (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL,
  who text NOT NULL CHECK (length(who) BETWEEN 1 AND 200),
  action text NOT NULL CHECK (action ~ '^[a-z][a-z0-9_.]{0,62}$'),
  -- What it was done to: 'job', 'dead_letter', 'lane', … and its name.
  kind text NOT NULL,
  object text NOT NULL,
  details jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_object ON rkyc.audit (object, id DESC);

CREATE VIEW rkyc.audit_trail AS SELECT id, at, who, action, kind, object, details FROM rkyc.audit;

-- Every lane has a queue of dead letters, be it empty.
CREATE OR REPLACE VIEW rkyc.dlq_depth AS
SELECT coalesce(d.queue, 'dlq.' || l.name) AS queue, coalesce(d.dead, 0) AS dead, coalesce(d.archived, 0) AS archived, d.oldest_at,
  'archive.' || coalesce(l.name, substring(d.queue FROM 5)) AS archive_queue
FROM rkyc.lane l
FULL JOIN (
  SELECT queue, count(*) FILTER (WHERE state = 'dead')::int AS dead, count(*) FILTER (WHERE state = 'archived')::int AS archived,
    min(at) FILTER (WHERE state = 'dead') AS oldest_at
  FROM rkyc.dead_letter WHERE state IN ('dead', 'archived') GROUP BY queue
) d ON d.queue = 'dlq.' || l.name;

-- What a person looks through.
CREATE VIEW rkyc.dead_letters AS
SELECT d.id, d.queue, d.archive_queue, d.state, j.uuid AS job_id, j.pipeline, j.version, d.step, d.reason, d.error_code, d.error_class,
  d.error_message, d.fingerprint, d.retry_count, d.first_at, d.at AS last_at, d.expires_at
FROM rkyc.dead_letter d JOIN rkyc.job j ON j.id = d.job_id;
