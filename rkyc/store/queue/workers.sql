-- name: register_worker
INSERT INTO rkyc.worker (name, host, pid, version, lanes, slots, for_suspects, started_at, beat_at)
VALUES (:name, :host, :pid, :version, :lanes, :slots, :for_suspects, clock_timestamp(), clock_timestamp())
RETURNING id;

-- name: end_worker
UPDATE rkyc.worker SET ended_at = clock_timestamp(), busy = 0 WHERE id = :worker_id;

-- name: mark_presence
-- Its presence connection stands in this life of the server: from now on its absence means death.
WITH booted AS (
  INSERT INTO rkyc.boot (at) SELECT clock_timestamp() WHERE NOT EXISTS (SELECT FROM rkyc.boot) ON CONFLICT DO NOTHING
  RETURNING at
)
-- Reading `booted` makes it run first: the presence must not seem older than the life it stands in.
UPDATE rkyc.worker SET presence_at = greatest(clock_timestamp(), (SELECT at + interval '1 us' FROM booted)), ended_at = NULL
WHERE id = :worker_id;

-- name: beat
-- One statement for all that an idle process wants to know. What walks over all dead rows while a snapshot is
-- pinned is left out (NULL) unless it `looks_deep`; ready rows are looked for above the cursors (`afters`).
WITH beat AS (
  UPDATE rkyc.worker SET beat_at = clock_timestamp(), busy = :busy, ended_at = NULL
  WHERE id = :worker_id AND (busy <> :busy OR ended_at IS NOT NULL OR beat_at < clock_timestamp() - make_interval(secs => :beat_s))
), booted AS (
  INSERT INTO rkyc.boot (at) SELECT clock_timestamp() WHERE NOT EXISTS (SELECT FROM rkyc.boot) ON CONFLICT DO NOTHING
)
SELECT clock_timestamp() AS now,
  -- What a client can't read must not blind it: infinity, and years that only Postgres knows.
  least((SELECT s.due_at FROM rkyc.scheduled s WHERE s.due_at < '9999-12-31' ORDER BY s.due_at LIMIT 1),
    (SELECT w.due_at FROM rkyc.waiting w WHERE w.due_at < '9999-12-31' ORDER BY w.due_at LIMIT 1)) AS next_due_at,
  (SELECT b.id FROM rkyc.broadcast b ORDER BY b.id DESC LIMIT 1) AS last_broadcast,
  (SELECT s.next_fire FROM rkyc.schedule s WHERE NOT s.paused AND s.next_fire < '9999-12-31' ORDER BY s.next_fire LIMIT 1) AS next_fire,
  ARRAY(SELECT l.lane FROM unnest(:lanes::text[], :afters::bigint[]) AS l(lane, after)
    WHERE EXISTS (SELECT FROM rkyc.ready r WHERE r.lane = l.lane AND r.seq > l.after)) AS ready_lanes,
  CASE WHEN :looks_deep THEN EXISTS (SELECT FROM rkyc.running r WHERE r.worker_id <> :worker_id) END AS others_running,
  EXISTS (SELECT FROM rkyc.waiting w WHERE w.kind IN ('no_worker', 'version_blocked') AND w.wake_key = ANY (:wake_keys::text[])
    AND w.lane = ANY (:lanes::text[])) AS parked,
  EXISTS (SELECT FROM rkyc.waiting w WHERE w.kind = 'suspect' AND w.wake_key = ANY (:wake_keys::text[])
    AND w.lane = ANY (:lanes::text[])) AS suspects,
  EXISTS (SELECT FROM rkyc.waiting w WHERE w.kind = 'fair' AND w.lane = ANY (:lanes::text[])) AS turns,
  ARRAY(SELECT p.kind || ':' || p.name FROM rkyc.pause p WHERE p.resumed_at IS NULL ORDER BY p.kind, p.name) AS pauses,
  ARRAY(SELECT p.kind || ':' || p.name FROM rkyc.pause p WHERE p.resumed_at IS NOT NULL) AS resumed,
  (SELECT count(*)::int FROM rkyc.worker w WHERE w.ended_at IS NULL) AS workers,
  CASE WHEN :looks_deep THEN (SELECT count(*)::int FROM rkyc.running r WHERE r.worker_id = :worker_id) END AS held,
  EXISTS (SELECT FROM rkyc.worker w WHERE w.id = :worker_id) AS is_known,
  -- Now and then only: it reads the list of all sessions.
  CASE WHEN :looks_at_horizon THEN (
    SELECT concat_ws(' ', h.kind, h.id, h.xid) FROM rkyc.horizon_holder h ORDER BY h.age_xids DESC, h.is_origin DESC LIMIT 1
  ) END AS horizon_holder;

-- name: read_horizon_holder
-- The query only up to its first number or text: what stands there may be personal.
SELECT concat_ws(' ', h.kind, h.id, h.xid) AS holder, h.kind, h.id, h.owner, h.database, h.application, h.age_xids, h.since, h.state,
  h.query_start, substring(h.query FROM '^[^''"$0-9]{1,80}') AS query
FROM rkyc.horizon_holder h WHERE concat_ws(' ', h.kind, h.id, h.xid) = :holder;

-- name: prune_workers
-- Of those that ended long ago, or were lost long ago: none whose name a view may still show. A job that is kept
-- is younger than the oldest kept one, and so is whatever was done for it.
DELETE FROM rkyc.worker w
WHERE coalesce(w.ended_at, w.beat_at) < least(
    clock_timestamp() - make_interval(days => :kept_days::int),
    (SELECT j.created_at FROM rkyc.job j ORDER BY j.id LIMIT 1) - interval '1 day')
  AND NOT EXISTS (SELECT FROM rkyc.running r WHERE r.worker_id = w.id)
  AND NOT EXISTS (
    SELECT FROM pg_stat_activity a WHERE a.datname = current_database() AND a.application_name = 'rkyc worker ' || w.id)
RETURNING id;

-- name: restore_worker
-- One that slept so long that its row was removed.
INSERT INTO rkyc.worker (id, name, host, pid, version, lanes, slots, for_suspects, presence_at, started_at, beat_at)
OVERRIDING SYSTEM VALUE
VALUES (:worker_id, :name, :host, :pid, :version, :lanes, :slots, :for_suspects, CASE WHEN :has_presence THEN clock_timestamp() END,
        clock_timestamp(), clock_timestamp())
ON CONFLICT DO NOTHING;

-- name: watch_workers
-- Who else holds tasks, and is its presence connection there? An ordinary role sees pid and
-- application_name of others' sessions, and no more is needed: worker ids are never used again.
SELECT w.id, w.name,
  EXISTS (SELECT FROM pg_stat_activity a WHERE a.datname = current_database() AND a.application_name = 'rkyc worker ' || w.id) AS is_present,
  w.presence_at IS NOT NULL AS has_presence,
  -- Absence tells nothing about a worker whose presence stood in an earlier life of the server, for a while.
  coalesce(w.presence_at > b.at, true) OR clock_timestamp() > b.at + make_interval(secs => :restart_grace_s) AS may_judge,
  extract(epoch FROM clock_timestamp() - w.beat_at)::float8 AS beat_age_s
FROM rkyc.worker w
CROSS JOIN (
  SELECT greatest(pg_postmaster_start_time(), coalesce((SELECT at FROM rkyc.boot), clock_timestamp())) AS at
) b
WHERE w.id <> :worker_id
  -- An ended one may have left tasks that a dying commit still had locked.
  AND (w.ended_at IS NULL OR (:looks_deep AND w.id IN (SELECT r.worker_id FROM rkyc.running r)));

-- name: find_running_of_others
SELECT EXISTS (SELECT FROM rkyc.running WHERE worker_id <> :worker_id);

-- name: lock_tasks_of_workers
-- A statement of its own, before reclaim_tasks in one transaction: no checkpoint can commit between that
-- statement's snapshot and its lock. What a commit under way holds is left to the next round.
SELECT job_id, branch FROM rkyc.running WHERE worker_id = ANY (:worker_ids::int[]) FOR UPDATE SKIP LOCKED;

-- name: reclaim_tasks
-- running -> ready (or waiting, as a suspect), of workers that are gone: the tasks that were locked before
WITH dead AS (
  UPDATE rkyc.worker w SET ended_at = clock_timestamp(), busy = 0
  WHERE w.id = ANY (:worker_ids::int[])
    AND (w.beat_at < clock_timestamp() - make_interval(secs => :frozen_after_s)
         OR NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datname = current_database() AND a.application_name = 'rkyc worker ' || w.id))
  RETURNING w.id, w.name
), held AS MATERIALIZED (
  SELECT r.ctid AS place, r.*, d.name AS worker, j.pipeline || '@' || j.version AS wake_key, c.next_step, c.seq AS last_seq
  FROM unnest(:job_ids::bigint[], :branches::int[]) AS l(job_id, branch)
  JOIN rkyc.running r ON r.job_id = l.job_id AND r.branch = l.branch
  JOIN dead d ON d.id = r.worker_id JOIN rkyc.job j ON j.id = r.job_id
  LEFT JOIN LATERAL (
    SELECT c.next_step, c.seq FROM rkyc.checkpoint c
    WHERE c.job_id = r.job_id AND c.branch = r.branch AND c.fence = r.fence ORDER BY c.seq DESC LIMIT 1
  ) c ON true
), gone AS (
  DELETE FROM rkyc.running WHERE ctid = ANY (ARRAY(SELECT place FROM held))
), counted AS MATERIALIZED (
  -- Crashes are counted since the last checkpoint: a new step starts with a clean record.
  SELECT h.job_id, h.branch, h.lane, h.worker, h.wake_key, h.started_at, h.worker_id, coalesce(h.next_step, h.step) AS step,
    coalesce(h.last_seq, h.events) + 1 AS events,
    CASE WHEN h.next_step IS NULL THEN h.error_attempts ELSE 0 END AS error_attempts,
    CASE WHEN h.next_step IS NULL THEN h.crash_attempts ELSE 0 END + 1 AS crash_attempts,
    CASE WHEN h.next_step IS NULL THEN h.alone_crashes ELSE 0 END + CASE WHEN h.alone THEN 1 ELSE 0 END AS alone_crashes,
    CASE WHEN h.next_step IS NULL THEN h.step_started_at END AS step_started_at
  FROM held h
), told AS (
  INSERT INTO rkyc.event (job_id, seq, type, branch, step, attempt, worker_id, data, at)
  SELECT c.job_id, c.events, 'step.retrying', c.branch, c.step, c.error_attempts + c.crash_attempts, c.worker_id,
    jsonb_build_object('reason', 'worker_lost', 'worker', c.worker), clock_timestamp()
  FROM counted c WHERE NOT EXISTS (SELECT FROM rkyc.branching b WHERE b.job_id = c.job_id)
), again AS (
  -- After a first crash a task simply runs again. After three alone it goes back too: whoever claims it buries it.
  INSERT INTO rkyc.ready (lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at)
  SELECT lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes, started_at, step_started_at
  FROM counted WHERE crash_attempts < 2 OR alone_crashes >= 3
), suspected AS (
  INSERT INTO rkyc.waiting (kind, wake_key, lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes,
                            started_at, step_started_at, since)
  SELECT 'suspect', wake_key, lane, job_id, branch, step, events, error_attempts, crash_attempts, alone_crashes, started_at,
    step_started_at, clock_timestamp()
  FROM counted WHERE crash_attempts >= 2 AND alone_crashes < 3
)
SELECT d.id AS worker_id, d.name AS worker, (SELECT count(*)::int FROM counted c WHERE c.worker_id = d.id) AS tasks,
  (SELECT count(*)::int FROM counted c WHERE c.worker_id = d.id AND c.crash_attempts >= 2) AS suspects
FROM dead d;

-- name: ping
SELECT 1;
