-- A compensator that fails for good leaves its job's dead letter under a reason of its own. Locks `dead_letter` against
-- everyone while its rows (one for each job that failed) are read.

ALTER TABLE rkyc.dead_letter DROP CONSTRAINT dead_letter_reason_check,
  ADD CONSTRAINT dead_letter_reason_check CHECK (reason IN ('task_failed', 'ttl_expired', 'worker_lost', 'compensation_failed'));
