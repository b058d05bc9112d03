-- Tasks that only the fleet's capacity holds, outside of `ready`: an index by how long they have waited, and `why` looks at
-- the fleet for those that wait for a turn. Takes a lock on `waiting` that lets readers through and holds back tasks that
-- go to wait, while an index of few rows is built.

-- The condition stands in `find_stale_waits` in the same words: only so is the index used.
CREATE INDEX waiting_start ON rkyc.waiting (lane, since, job_id, branch)
  WHERE kind IN ('fair', 'no_worker', 'version_blocked')
    OR (kind = 'limit' AND wake_key NOT LIKE 'rate/%');

INSERT INTO rkyc.reason VALUES
  ('version_unserved', 'no live worker of lane {lane} serves version {version} of pipeline {pipeline}',
   'start one that does: rkyc serve --app MODULE:REGISTRY --lanes {lane}');

-- Who has not told what it serves is taken to serve all.
CREATE FUNCTION rkyc.may_serve(worker int, of_pipeline text, of_version int) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT NOT EXISTS (SELECT FROM rkyc.worker_edition e WHERE e.worker_id = worker)
    OR EXISTS (
      SELECT FROM rkyc.worker_edition e JOIN rkyc.pipeline_edition p ON p.id = e.edition_id
      WHERE e.worker_id = worker AND p.name = of_pipeline AND p.version = of_version)
$$;

-- The one look at the fleet, for ready tasks and for those that wait for a turn; it sees who serves the version as well.
DO $$
DECLARE
  said text := pg_get_functiondef('rkyc.why_unheld(uuid)'::regprocedure);
  held text := pg_get_functiondef('rkyc.why(uuid)'::regprocedure);
  change record;
BEGIN
  FOR change IN SELECT * FROM (VALUES
    ($q$IF t.kind = 'queued' THEN$q$, $q$IF t.kind IN ('queued', 'fair') THEN$q$),
    ($q$SELECT count(*)::int AS workers,$q$,
     $q$SELECT count(*) FILTER (WHERE rkyc.may_serve(k.id, j.pipeline, j.version))::int AS serving, count(*)::int AS workers,$q$),
    ($q$WHEN fleet.workers = 0 THEN 'lane_unserved' WHEN$q$,
     $q$WHEN fleet.workers = 0 THEN 'lane_unserved' WHEN fleet.serving = 0 THEN 'version_unserved' WHEN t.kind = 'fair' THEN 'fair' WHEN$q$),
    -- How many turns come before one is not known beforehand.
    ($q$'ahead', CASE WHEN count(*) > 1000$q$, $q$'ahead', CASE WHEN t.kind = 'fair' THEN NULL WHEN count(*) > 1000$q$)
  ) AS c(before, after) LOOP
    IF position(change.before IN said) = 0 THEN RAISE EXCEPTION 'rkyc.why_unheld is not the one that is known'; END IF;
    said := replace(said, change.before, change.after);
  END LOOP;
  IF position($q$'lane_unserved', 'slots_busy'$q$ IN held) = 0 THEN RAISE EXCEPTION 'rkyc.why is not the one that is known'; END IF;
  EXECUTE said;
  EXECUTE replace(held, $q$'lane_unserved', 'slots_busy'$q$, $q$'lane_unserved', 'version_unserved', 'slots_busy'$q$);
END $$;
