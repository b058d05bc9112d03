-- Turns of fairness keys: how much each has had. Takes a lock on `waiting` that lets readers through and holds back
-- tasks that go to wait, while an index of few rows is built.

-- `had` counts tasks by their key's weight; the row of the empty key holds where the lane as a whole is, and is the
-- lock of whoever hands out turns.
CREATE TABLE rkyc.fair_turn (
  lane text NOT NULL,
  key text NOT NULL,
  had float8 NOT NULL,
  updated_at timestamptz NOT NULL,
  PRIMARY KEY (lane, key)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);

-- The keys of a lane in order, and each one's tasks in the order of their jobs.
CREATE INDEX waiting_fair ON rkyc.waiting (lane, wake_key, job_id, branch) WHERE kind = 'fair';
