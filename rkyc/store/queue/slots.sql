-- name: declare_limits
INSERT INTO rkyc.limit_rule (name, size, declared_at)
SELECT d.name, d.size, clock_timestamp() FROM unnest(:names::text[], :sizes::int[]) AS d(name, size) ORDER BY d.name
ON CONFLICT (name) DO UPDATE SET size = excluded.size, declared_at = excluded.declared_at WHERE rkyc.limit_rule.size <> excluded.size;

-- name: take_slots
-- For each task a free place of its limit, where there is one. Nobody is waited for: a place that another statement
-- has locked is being taken, or will be offered to those who wait.
WITH wanted AS MATERIALIZED (
  SELECT d.job_id, d.branch, d.fence, d.scope, d.name, row_number() OVER (PARTITION BY d.scope ORDER BY d.number) AS number
  FROM unnest(:job_ids::bigint[], :branches::int[], :fences::bigint[], :scopes::text[], :names::text[])
    WITH ORDINALITY AS d(job_id, branch, fence, scope, name, number)
  -- FOR SHARE: a reclaim that commits meanwhile must wait or be seen; who has lost its lease takes nothing.
  CROSS JOIN LATERAL (
    SELECT 1 FROM rkyc.running r WHERE r.job_id = d.job_id AND r.branch = d.branch AND r.fence = d.fence FOR SHARE
  ) held
), free AS MATERIALIZED (
  SELECT a.scope, s.slot, row_number() OVER (PARTITION BY a.scope ORDER BY s.slot) AS number
  FROM (SELECT w.scope, w.name, count(*) AS tasks FROM wanted w GROUP BY w.scope, w.name) a
  JOIN rkyc.limit_rule l ON l.name = a.name
  CROSS JOIN LATERAL (
    SELECT s.number AS slot FROM rkyc.limit_slot s
    WHERE s.scope = a.scope AND s.number < l.size AND s.job_id IS NULL
    -- The promised ones first: whoever was woken for one may get any.
    ORDER BY s.promised_until, s.number LIMIT a.tasks FOR UPDATE SKIP LOCKED
  ) s
)
UPDATE rkyc.limit_slot s SET job_id = w.job_id, branch = w.branch, fence = w.fence, promised_until = NULL
FROM free f JOIN wanted w ON w.scope = f.scope AND w.number = f.number
WHERE s.scope = f.scope AND s.number = f.slot AND s.job_id IS NULL
RETURNING s.job_id, s.branch, s.scope;

-- name: create_slots
-- The places of a limit that are not there yet; returns how many.
WITH made AS (
  INSERT INTO rkyc.limit_slot (scope, number, name, freed_at)
  SELECT d.scope, g.number, l.name, :now
  FROM unnest(:scopes::text[], :names::text[]) AS d(scope, name) JOIN rkyc.limit_rule l ON l.name = d.name
  CROSS JOIN LATERAL generate_series(0, l.size - 1) AS g(number)
  WHERE NOT EXISTS (SELECT FROM rkyc.limit_slot s WHERE s.scope = d.scope AND s.number = g.number)
  ORDER BY d.scope, g.number
  ON CONFLICT DO NOTHING RETURNING 1
)
SELECT count(*)::int AS made FROM made;

-- name: free_slots
-- All places that these leases hold. Locked in one order, as whoever offers places locks them.
WITH held AS MATERIALIZED (
  SELECT s.scope, s.number, s.fence
  FROM unnest(:job_ids::bigint[], :branches::int[], :fences::bigint[]) AS d(job_id, branch, fence)
  JOIN rkyc.limit_slot s ON s.job_id = d.job_id AND s.branch = d.branch AND s.fence = d.fence
  ORDER BY s.scope, s.number FOR UPDATE OF s
)
UPDATE rkyc.limit_slot s SET job_id = NULL, branch = NULL, fence = NULL, promised_until = NULL, freed_at = :now
FROM held h WHERE s.scope = h.scope AND s.number = h.number AND s.fence = h.fence
RETURNING s.scope;

-- name: free_orphan_slots
-- Places whose leases are gone: their worker died, or their job was ended by others. A lease is older than the place
-- it holds, and its fence never comes again: what is missing in one snapshot is gone for good.
WITH orphans AS MATERIALIZED (
  SELECT s.scope, s.number, s.fence FROM rkyc.limit_slot s
  WHERE s.job_id IS NOT NULL
    AND NOT EXISTS (SELECT FROM rkyc.running r WHERE r.job_id = s.job_id AND r.branch = s.branch AND r.fence = s.fence)
), locked AS MATERIALIZED (
  SELECT s.scope, s.number, o.fence FROM orphans o JOIN rkyc.limit_slot s ON s.scope = o.scope AND s.number = o.number
  WHERE s.fence = o.fence ORDER BY s.scope, s.number FOR UPDATE OF s
)
UPDATE rkyc.limit_slot s SET job_id = NULL, branch = NULL, fence = NULL, promised_until = NULL, freed_at = :now
FROM locked k WHERE s.scope = k.scope AND s.number = k.number AND s.fence = k.fence
RETURNING s.scope;

-- name: offer_slots
-- waiting -> ready: for each free place that is promised to nobody the task that waits longest for it. Locks are waited
-- for: whoever goes to wait looks here after its commit, and must see a place that is being freed or offered.
WITH free AS MATERIALIZED (
  SELECT a.scope, s.number, row_number() OVER (PARTITION BY a.scope ORDER BY s.number) AS place
  FROM (
    SELECT d.scope FROM (SELECT DISTINCT u.scope FROM unnest(:scopes::text[]) AS u(scope)) d
    WHERE EXISTS (SELECT FROM rkyc.waiting w WHERE w.kind = 'limit' AND w.wake_key = d.scope) ORDER BY d.scope
  ) a
  CROSS JOIN LATERAL (
    SELECT s.number FROM rkyc.limit_slot s JOIN rkyc.limit_rule l ON l.name = s.name
    WHERE s.scope = a.scope AND s.number < l.size AND s.job_id IS NULL AND (s.promised_until IS NULL OR s.promised_until <= :now)
    ORDER BY s.number FOR UPDATE OF s
  ) s
), picked AS MATERIALIZED (
  SELECT c.scope, w.job_id, w.branch, row_number() OVER (PARTITION BY c.scope ORDER BY w.since, w.job_id) AS number
  FROM (SELECT f.scope, count(*) AS places FROM free f GROUP BY f.scope) c
  CROSS JOIN LATERAL (
    SELECT w.job_id, w.branch, w.since FROM rkyc.waiting w WHERE w.kind = 'limit' AND w.wake_key = c.scope
    ORDER BY w.since LIMIT c.places FOR UPDATE SKIP LOCKED
  ) w
), promised AS (
  UPDATE rkyc.limit_slot s SET promised_until = :now::timestamptz + make_interval(secs => :promise_s::float8)
  FROM free f JOIN picked p ON p.scope = f.scope AND p.number = f.place
  WHERE s.scope = f.scope AND s.number = f.number
), gone AS (
  DELETE FROM rkyc.waiting w USING picked p WHERE w.job_id = p.job_id AND w.branch = p.branch RETURNING w.*
)
INSERT INTO rkyc.ready (lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at)
SELECT lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at
FROM gone ORDER BY since
RETURNING lane;

-- name: find_waited_scopes
-- The limits that tasks wait for: one look into the index for each, at most 1,000. Not rates: those waits end by themselves,
-- at the time that they have reserved.
WITH RECURSIVE scopes(scope) AS (
  (SELECT w.wake_key FROM rkyc.waiting w WHERE w.kind = 'limit' ORDER BY w.wake_key LIMIT 1)
  UNION ALL
  SELECT n.wake_key FROM scopes s CROSS JOIN LATERAL (
    SELECT w.wake_key FROM rkyc.waiting w WHERE w.kind = 'limit' AND w.wake_key > s.scope ORDER BY w.wake_key LIMIT 1
  ) n
)
SELECT scope FROM scopes WHERE scope NOT LIKE 'rate/%' LIMIT 1000;

-- name: dismiss_waiters
-- waiting -> ready, without a place: tasks of the pipelines served here whose code no longer names the limit.
WITH picked AS MATERIALIZED (
  SELECT w.place FROM unnest(:scopes::text[]) AS d(scope)
  CROSS JOIN LATERAL (
    SELECT w.ctid AS place, w.job_id FROM rkyc.waiting w WHERE w.kind = 'limit' AND w.wake_key = d.scope
    ORDER BY w.since LIMIT 1000 FOR UPDATE SKIP LOCKED
  ) w
  -- The bound keeps the plan to a look at each job.
  CROSS JOIN LATERAL (SELECT j.pipeline || '@' || j.version AS wake_key FROM rkyc.job j WHERE j.id = w.job_id LIMIT 1) j
  WHERE j.wake_key = ANY (:wake_keys::text[]) LIMIT 10000
), gone AS (
  DELETE FROM rkyc.waiting WHERE ctid = ANY (ARRAY(SELECT place FROM picked)) RETURNING *
)
INSERT INTO rkyc.ready (lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at)
SELECT lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at
FROM gone ORDER BY since
RETURNING lane;

-- name: prune_slots
-- Places of keys that nobody has asked for in an hour.
DELETE FROM rkyc.limit_slot WHERE ctid = ANY (ARRAY(
  SELECT s.ctid FROM rkyc.limit_slot s WHERE s.job_id IS NULL AND s.freed_at < :now::timestamptz - interval '1 hour'
    AND NOT EXISTS (SELECT FROM rkyc.waiting w WHERE w.kind = 'limit' AND w.wake_key = s.scope)
  LIMIT 1000 FOR UPDATE SKIP LOCKED));
