-- Jobs that steps of other jobs started. It only creates: it takes no lock on what exists.

-- One row per child: `name` is its name in the call journal of the step that started it. `state` is how it ended, from
-- the transaction on that ended it.
CREATE TABLE rkyc.child (
  parent_id bigint NOT NULL,
  step text NOT NULL,
  branch int NOT NULL,
  name text NOT NULL,
  child_id bigint NOT NULL UNIQUE,
  child_uuid uuid NOT NULL UNIQUE,
  on_parent_end text NOT NULL CHECK (on_parent_end IN ('cancel', 'leave')),
  state text CHECK (state IN ('completed', 'failed', 'cancelled')),
  spawned_at timestamptz NOT NULL,
  ended_at timestamptz,
  PRIMARY KEY (parent_id, step, branch, name)
);
CREATE INDEX child_open ON rkyc.child (parent_id, branch, step) WHERE state IS NULL;

-- Jobs that failed or were cancelled and whose children are to be cancelled too. Written in the transaction that ends
-- the parent, worked off by whoever comes first: the children's rows are locked by their own ends, in another order.
CREATE TABLE rkyc.orphaned (
  parent_id bigint PRIMARY KEY,
  at timestamptz NOT NULL
);

CREATE VIEW rkyc.child_job AS
SELECT p.uuid AS parent_id, c.step, c.name, c.child_uuid AS job_id, j.pipeline, c.on_parent_end, c.state AS ended, c.spawned_at, c.ended_at
FROM rkyc.child c JOIN rkyc.job p ON p.id = c.parent_id JOIN rkyc.job j ON j.id = c.child_id;
