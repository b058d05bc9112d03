-- Finds the jobs whose deadline has just passed. Takes a lock on job that lets readers through and
-- holds back enqueues while it is built; jobs without a deadline are not in it.
CREATE INDEX job_deadline ON rkyc.job (deadline_at) WHERE deadline_at IS NOT NULL;
