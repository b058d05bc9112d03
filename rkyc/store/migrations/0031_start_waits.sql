-- Tasks that only the fleet's capacity holds, outside of `ready`: an index by how long they have waited. Takes a lock on
-- `waiting` that lets readers through and holds back tasks that go to wait, while an index of few rows is built.

-- The condition stands in `find_stale_waits` in the same words: only so is the index used.
CREATE INDEX waiting_start ON rkyc.waiting (lane, since, job_id, branch)
  WHERE kind IN ('fair', 'no_worker', 'version_blocked')
    OR (kind = 'limit' AND wake_key NOT LIKE 'rate/%');
