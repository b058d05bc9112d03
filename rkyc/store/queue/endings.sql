-- name: read_ending
-- Of a job that failed or was cancelled. Its children are noted, and not touched here: their ends lock them first, then
-- their parent.
WITH noted AS (
  INSERT INTO rkyc.orphaned (parent_id, at)
  SELECT :job_id, clock_timestamp()
  WHERE EXISTS (SELECT FROM rkyc.child c WHERE c.parent_id = :job_id AND c.state IS NULL AND c.on_parent_end = 'cancel')
  ON CONFLICT (parent_id) DO NOTHING RETURNING parent_id
)
SELECT j.traits, clock_timestamp() AS now, (SELECT pg_notify('rkyc_wake', 'orphans') FROM noted) AS told
FROM rkyc.job j WHERE j.id = :job_id;

-- name: tell_lanes
-- Sent when the caller's transaction commits; Postgres folds equal ones of a transaction into one.
SELECT pg_notify('rkyc_wake', l) FROM unnest(:lanes::text[]) l;
