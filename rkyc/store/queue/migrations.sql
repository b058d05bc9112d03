-- name: list_blocked
-- Jobs of older versions that wait for a worker of theirs. One that is being undone ends on its version.
SELECT DISTINCT j.id, j.uuid FROM rkyc.pipeline_version v
CROSS JOIN LATERAL (
  SELECT w.job_id FROM rkyc.waiting w
  WHERE w.kind IN ('version_blocked', 'no_worker') AND w.wake_key = v.name || '@' || v.version AND w.job_id > :after
    AND w.step !~ '^undo:' OFFSET 0
) w
JOIN rkyc.job j ON j.id = w.job_id
WHERE v.name = :pipeline AND v.version < :version
ORDER BY j.id LIMIT :limit;

-- name: is_served
SELECT EXISTS (
  SELECT FROM rkyc.worker w
  JOIN rkyc.worker_edition e ON e.worker_id = w.id JOIN rkyc.pipeline_edition p ON p.id = e.edition_id
  WHERE w.ended_at IS NULL AND w.beat_at > clock_timestamp() - interval '120 s' AND p.name = :pipeline AND p.version = :version);

-- name: drop_joins
DELETE FROM rkyc.join_point WHERE job_id = :job_id;

-- name: move_children
-- To the branches where their steps stand now. Run before the sweep: the end of a child locks it first, then what its parent
-- waits in. Those of a step that is gone while it runs have no branch any more: they are cancelled.
WITH lost AS (
  UPDATE rkyc.child c SET branch = b.branch
  FROM (SELECT least(min(branch), 0) - 1 AS branch FROM rkyc.child WHERE parent_id = :job_id) b
  WHERE c.parent_id = :job_id AND c.state IS NULL AND c.on_parent_end = 'cancel' AND c.branch >= 0 AND c.step <> ALL (:known_steps::text[])
    AND NOT EXISTS (SELECT FROM rkyc.checkpoint k WHERE k.job_id = :job_id AND k.branch = c.branch AND k.step = c.step)
  RETURNING c.parent_id
), moved AS (
  UPDATE rkyc.child c SET branch = s.branch FROM unnest(:steps::text[], :branches::int[]) AS s(step, branch)
  WHERE c.parent_id = :job_id AND c.step = s.step AND c.branch BETWEEN 0 AND 131071 AND c.branch <> s.branch
), noted AS (
  INSERT INTO rkyc.orphaned (parent_id, at) SELECT DISTINCT l.parent_id, clock_timestamp() FROM lost l
  ON CONFLICT (parent_id) DO NOTHING
)
SELECT pg_notify('rkyc_wake', 'orphans') FROM lost LIMIT 1;

-- name: move_journal
WITH forgotten AS (
  -- A version that has such a step again asks anew.
  UPDATE rkyc.journal u SET name = u.name || '~before:' || (SELECT coalesce(max(e.seq), 0) + 1 FROM rkyc.event e WHERE e.job_id = :job_id)
  WHERE u.job_id = :job_id AND u.step <> ALL (:known_steps::text[]) AND u.name !~ '~before:[0-9]+$'
)
UPDATE rkyc.journal u SET branch = s.branch FROM unnest(:steps::text[], :branches::int[]) AS s(step, branch)
WHERE u.job_id = :job_id AND u.step = s.step AND u.branch < 131072 AND u.branch <> s.branch;

-- name: lock_place
-- Where a job is held back by a person, or until its turn or its time has come. Only what has not begun has such a time.
SELECT * FROM (
  SELECT w.kind, w.wake_key, w.detail, w.since, CASE WHEN w.resume_reason = 'scheduled' THEN w.resume_at END AS due_at
  FROM rkyc.waiting w
  WHERE w.job_id = :job_id AND (w.kind IN ('turn', 'fair') OR w.kind = 'paused' AND w.wake_key = 'job:' || :uuid::uuid)
  ORDER BY w.branch LIMIT 1 FOR UPDATE
) w
UNION ALL SELECT * FROM (
  SELECT 'scheduled', NULL, NULL, NULL::timestamptz, s.due_at FROM rkyc.scheduled s
  WHERE s.job_id = :job_id AND s.reason = 'scheduled' FOR UPDATE
) s;

-- name: hold_place
-- ready -> waiting, or scheduled: held back as before it was moved in this transaction
WITH gone AS (
  DELETE FROM rkyc.ready WHERE job_id = :job_id RETURNING *
), later AS (
  INSERT INTO rkyc.scheduled (due_at, reason, lane, job_id, branch, step, events, started_at)
  SELECT :due_at::timestamptz, 'scheduled', lane, job_id, branch, step, events, started_at FROM gone WHERE :kind = 'scheduled'
)
INSERT INTO rkyc.waiting (kind, wake_key, detail, lane, job_id, branch, step, events, started_at, since, resume_at, resume_reason)
SELECT :kind, :wake_key, :detail, lane, job_id, branch, step, events, started_at, :since::timestamptz, :due_at,
  CASE WHEN :due_at IS NOT NULL THEN 'scheduled' END
FROM gone WHERE :kind <> 'scheduled';

-- name: move_job
-- pending, running -> pending under another version; its tasks were swept before in this transaction
WITH base AS (
  SELECT greatest(coalesce((SELECT max(c.seq) FROM rkyc.checkpoint c WHERE c.job_id = :job_id), 0),
    coalesce((SELECT max(e.seq) FROM rkyc.event e WHERE e.job_id = :job_id), 0),
    coalesce((SELECT b.events FROM rkyc.branching b WHERE b.job_id = :job_id), 0)) AS seq
), told AS (
  INSERT INTO rkyc.event (job_id, seq, type, data, at)
  SELECT j.id, b.seq + 1, 'job.migrated', jsonb_build_object('from_version', j.version, 'version', :version::int), clock_timestamp()
  FROM rkyc.job j CROSS JOIN base b WHERE j.id = :job_id
), changed AS (
  UPDATE rkyc.job SET version = :version, input = :input::jsonb WHERE id = :job_id RETURNING id, lane
), moved AS (
  DELETE FROM rkyc.checkpoint c WHERE c.job_id = :job_id RETURNING c.*
), aside AS (
  INSERT INTO rkyc.superseded_checkpoint (job_id, seq, branch, step, next_step, attempt, fence, worker_id, output, degraded, warnings,
                                          metadata, started_at, finished_at, was_result, superseded_at)
  SELECT job_id, seq, branch, step, next_step, attempt, fence, worker_id, output, degraded, warnings, metadata, started_at, finished_at,
    -- Not told again as an event: the new ones tell it.
    true, clock_timestamp() FROM moved
), origin AS (
  SELECT o.step AS now_step, count(*) OVER (PARTITION BY o.step) AS number, m.*
  FROM unnest(:origin_steps::text[], :origin_olds::text[]) AS o(step, old) JOIN moved m ON m.step = o.old
), kept AS (
  INSERT INTO rkyc.checkpoint (job_id, seq, branch, step, next_step, attempt, fence, worker_id, output, degraded, warnings, metadata,
                               started_at, finished_at)
  SELECT :job_id, b.seq + 1 + k.number, k.branch, k.step, k.next_step, coalesce(m.attempt, 1),
    -- Less than none where a part of it was taken over by a fork: its source undoes that.
    coalesce(m.fence, 0), coalesce(m.worker_id, 0), k.output::jsonb, coalesce(m.degraded, false), w.warnings, m.metadata,
    coalesce(m.started_at, clock_timestamp()), coalesce(m.finished_at, clock_timestamp())
  FROM unnest(:kept_steps::text[], :kept_branches::int[], :kept_nexts::text[], :kept_outputs::text[])
    WITH ORDINALITY AS k(step, branch, next_step, output, number)
  CROSS JOIN base b
  CROSS JOIN LATERAL (
    SELECT max(o.attempt) AS attempt, min(o.fence) AS fence, max(o.worker_id) AS worker_id, bool_or(o.degraded) AS degraded,
      (array_agg(o.metadata ORDER BY o.seq DESC))[1] AS metadata, min(o.started_at) AS started_at, max(o.finished_at) AS finished_at
    FROM origin o WHERE o.now_step = k.step
  ) m
  CROSS JOIN LATERAL (
    -- What stands for several did not fail with one of them: it is still undone.
    SELECT jsonb_agg(CASE WHEN o.number = 1 THEN e.value ELSE e.value - 'failed' END ORDER BY o.seq, e.number) AS warnings
    FROM origin o CROSS JOIN LATERAL jsonb_array_elements(o.warnings) WITH ORDINALITY AS e(value, number) WHERE o.now_step = k.step
  ) w
), counted AS (
  INSERT INTO rkyc.branching (job_id, events) SELECT :job_id, b.seq + 1 + cardinality(:kept_steps::text[]) FROM base b
  WHERE :is_forked::boolean ON CONFLICT (job_id) DO UPDATE SET events = excluded.events
), uncounted AS (
  DELETE FROM rkyc.branching b WHERE b.job_id = :job_id AND NOT :is_forked::boolean
), joins AS (
  INSERT INTO rkyc.join_point (job_id, step, branch, remaining)
  SELECT :job_id, p.step, p.branch, p.remaining
  FROM unnest(:join_steps::text[], :join_branches::int[], :join_remainings::int[]) AS p(step, branch, remaining)
)
INSERT INTO rkyc.ready (lane, job_id, branch, step, events, started_at)
SELECT coalesce(s.lane, c.lane), c.id, s.branch, s.step, b.seq + 1 + cardinality(:kept_steps::text[]), :started_at::timestamptz
FROM changed c CROSS JOIN base b
CROSS JOIN unnest(:start_steps::text[], :start_branches::int[], :start_lanes::text[]) AS s(step, branch, lane)
RETURNING lane;
