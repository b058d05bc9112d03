-- name: read_source
SELECT j.id, j.uuid, j.pipeline, j.version, j.lane, j.input, coalesce(j.traits ->> 'tenant', '') AS tenant, h.state
FROM rkyc.job j LEFT JOIN LATERAL (SELECT h.state FROM rkyc.history h WHERE h.job_id = j.id OFFSET 0) h ON true
WHERE j.uuid = :uuid;

-- name: lock_end
-- Whoever starts an ended job again holds its end meanwhile.
SELECT state FROM rkyc.history WHERE job_id = :job_id FOR UPDATE;

-- name: find_next_run
SELECT j.uuid FROM rkyc.lineage l CROSS JOIN LATERAL (SELECT j.uuid FROM rkyc.job j WHERE j.id = l.job_id OFFSET 0) j
WHERE l.source_id = :job_id AND l.kind = 'continue' LIMIT 1;

-- name: read_version_graph
SELECT v.graph, v.version FROM rkyc.pipeline_version v
WHERE v.name = :name AND (:version::int IS NULL OR v.version = :version) ORDER BY v.version DESC LIMIT 1;

-- name: list_done_steps
-- With what the worker that did it had declared of the step; the last one of a step last.
SELECT c.step, c.degraded, (
    SELECT e.identities -> c.step FROM rkyc.worker_edition w JOIN rkyc.pipeline_edition e ON e.id = w.edition_id
    WHERE w.worker_id = c.worker_id AND e.name = :pipeline ORDER BY e.version = :version DESC, e.version DESC LIMIT 1) AS identity
FROM (
  SELECT c.step, c.degraded, c.worker_id, c.seq FROM rkyc.checkpoint c WHERE c.job_id = :job_id
  UNION ALL
  SELECT h.step, h.degraded, h.worker_id, h.seq FROM rkyc.history h WHERE h.job_id = :job_id AND h.state = 'completed'
) c ORDER BY c.seq;

-- name: read_identities
-- What the newest start of a worker declared.
SELECT e.identities FROM rkyc.pipeline_edition e WHERE e.name = :name AND e.version = :version ORDER BY e.registered_at DESC LIMIT 1;

-- name: sum_costs
-- By step, of the job itself or of the nearest one that it took the step over from.
WITH RECURSIVE origin AS (
  SELECT :job_id::bigint AS id, 0 AS depth
  UNION ALL
  SELECT l.source_id, o.depth + 1 FROM origin o CROSS JOIN LATERAL (
    SELECT l.source_id FROM rkyc.lineage l WHERE l.job_id = o.id AND l.kind <> 'continue' OFFSET 0) l
  WHERE o.depth < 100
)
SELECT DISTINCT ON (u.step) u.step, u.depth, u.calls, u.tokens_in, u.tokens_out, u.cost_usd
FROM (
  SELECT u.step, o.depth, count(*)::int AS calls, coalesce(sum(u.tokens_in), 0)::bigint AS tokens_in,
    coalesce(sum(u.tokens_out), 0)::bigint AS tokens_out, coalesce(sum(u.cost_usd), 0)::float8 AS cost_usd
  FROM origin o CROSS JOIN LATERAL (SELECT * FROM rkyc.journal u WHERE u.job_id = o.id OFFSET 0) u
  GROUP BY u.step, o.depth
) u ORDER BY u.step, u.depth;

-- name: fork_job
-- nothing -> pending: a new job that begins with the kept checkpoints of another
WITH source AS (
  SELECT * FROM rkyc.job WHERE id = :source_id
), new_job AS (
  INSERT INTO rkyc.job (uuid, pipeline, version, lane, input, metadata, webhook_url, budget_usd, traits, created_at)
  SELECT :uuid, j.pipeline, :version, j.lane, coalesce(:input::jsonb, j.input),
    (j.metadata - '{forked_from,forked_at,rerun_of,continued_from}'::text[]) || :metadata::jsonb, j.webhook_url, j.budget_usd,
    -- Nobody waits for its end, no key was taken for it, and it was not put off.
    nullif(j.traits - '{on_end,parent,run_at,schedule,unique}'::text[], '{}'), clock_timestamp()
  FROM source j RETURNING id, lane
), kept AS (
  SELECT k.*, c.* FROM unnest(:kept_steps::text[], :kept_branches::int[], :kept_nexts::text[], :kept_outputs::text[])
    WITH ORDINALITY AS k(kept_step, kept_branch, kept_next, edited, number)
  CROSS JOIN LATERAL (
    SELECT * FROM rkyc.checkpoint c WHERE c.job_id = :source_id AND c.step = k.kept_step ORDER BY c.seq DESC LIMIT 1
  ) c
), copied AS (
  INSERT INTO rkyc.checkpoint (job_id, seq, branch, step, next_step, attempt, fence, worker_id, output, degraded, warnings, metadata,
                               started_at, finished_at)
  -- No fence of its own: what another job did is not undone with this one.
  SELECT n.id, k.number, k.kept_branch, k.kept_step, k.kept_next, k.attempt, -1, k.worker_id,
    coalesce(k.edited::jsonb, k.output), k.degraded, k.warnings, k.metadata, k.started_at, k.finished_at
  FROM kept k CROSS JOIN new_job n
  RETURNING step
), items AS MATERIALIZED (
  SELECT c.*, k.map * 131072 + c.branch % 131072 AS new_branch,
    cardinality(:kept_steps::text[]) + (row_number() OVER (ORDER BY c.seq))::int AS number
  FROM unnest(:item_steps::text[], :item_maps::int[]) AS k(step, map) CROSS JOIN LATERAL (
    SELECT * FROM rkyc.checkpoint c WHERE c.job_id = :source_id AND c.branch >= 131072 AND c.step = k.step OFFSET 0
  ) c
), copied_items AS (
  INSERT INTO rkyc.checkpoint (job_id, seq, branch, step, next_step, attempt, fence, worker_id, output, degraded, warnings, metadata,
                               started_at, finished_at)
  SELECT n.id, i.number, i.new_branch, i.step, i.next_step, i.attempt, -1, i.worker_id, i.output, i.degraded, i.warnings, i.metadata,
    i.started_at, i.finished_at
  FROM items i CROSS JOIN new_job n
), elements AS (
  INSERT INTO rkyc.map_item (job_id, branch, key, input)
  SELECT n.id, i.new_branch, m.key, m.input
  FROM (SELECT DISTINCT branch, new_branch FROM items) i CROSS JOIN new_job n
  CROSS JOIN LATERAL (SELECT * FROM rkyc.map_item m WHERE m.job_id = :source_id AND m.branch = i.branch OFFSET 0) m
), linked AS (
  INSERT INTO rkyc.lineage (job_id, source_id, kind, at) SELECT n.id, :source_id, :kind, clock_timestamp() FROM new_job n
), held AS (
  -- What it copies may lie in blobs: they stay as long as this job does, too.
  INSERT INTO rkyc.blob_ref (job_id, sha256)
  SELECT n.id, b.sha256 FROM new_job n JOIN rkyc.blob_ref b ON b.job_id = :source_id
), branching AS (
  INSERT INTO rkyc.branching (job_id, events) SELECT n.id, cardinality(:kept_steps::text[]) + (SELECT count(*)::int FROM items) FROM new_job n WHERE :is_forked::boolean
), joins AS (
  INSERT INTO rkyc.join_point (job_id, step, branch, remaining)
  SELECT n.id, p.step, p.branch, p.remaining
  FROM new_job n CROSS JOIN unnest(:join_steps::text[], :join_branches::int[], :join_remainings::int[]) AS p(step, branch, remaining)
), begun AS (
  INSERT INTO rkyc.ready (lane, job_id, branch, step, events)
  SELECT coalesce(s.lane, n.lane), n.id, s.branch, s.step, cardinality(:kept_steps::text[]) + (SELECT count(*)::int FROM items)
  FROM new_job n CROSS JOIN unnest(:start_steps::text[], :start_branches::int[], :start_lanes::text[]) AS s(step, branch, lane)
  RETURNING lane
)
SELECT (SELECT count(*)::int FROM copied) AS copied, ARRAY(SELECT DISTINCT lane FROM begun) AS lanes;

-- name: restart_job
-- completed, failed, cancelled -> pending at the steps that begin again; what no longer counts is kept aside
WITH gone AS (
  DELETE FROM rkyc.history WHERE job_id = :job_id RETURNING *
), told AS (
  INSERT INTO rkyc.event (job_id, seq, type, branch, step, attempt, worker_id, data, at)
  SELECT job_id, seq, 'job.retried', branch, step, attempt, worker_id,
    jsonb_build_object('state', state, 'error_code', error_code, 'error', error_message, 'started_at', started_at,
      'finished_at', finished_at, 'from_step', :from_step::text, 'kept', to_jsonb(:kept_steps::text[])),
    clock_timestamp() FROM gone
), moved AS (
  -- By the parameter: a join's plan may read all of it.
  DELETE FROM rkyc.checkpoint c WHERE c.job_id = :job_id AND c.step <> ALL (:kept_steps::text[]) AND EXISTS (SELECT FROM gone) RETURNING c.*
), aside AS (
  INSERT INTO rkyc.superseded_checkpoint (job_id, seq, branch, step, next_step, attempt, fence, worker_id, output, degraded, warnings,
                                          metadata, started_at, finished_at, was_result, superseded_at)
  SELECT job_id, seq, branch, step, next_step, attempt, fence, worker_id, output, degraded, warnings, metadata, started_at, finished_at,
    false, clock_timestamp() FROM moved
  UNION ALL
  SELECT job_id, seq, branch, step, NULL, attempt, fence, worker_id, result, degraded, warnings, metadata,
    coalesce(step_started_at, started_at), finished_at, true, clock_timestamp() FROM gone WHERE state = 'completed'
), forgotten AS (
  -- What was paid stays on the bill; under another name no attempt remembers it.
  UPDATE rkyc.journal u SET name = u.name || '~before:' || (SELECT g.seq FROM gone g)
  WHERE u.job_id = :job_id AND EXISTS (SELECT FROM gone) AND u.step <> ALL (:kept_steps::text[]) AND u.name !~ '~before:[0-9]+$'
), silenced AS (
  -- How far the step had come counts no more than what it asked.
  DELETE FROM rkyc.heartbeat b WHERE b.job_id = :job_id AND EXISTS (SELECT FROM gone) AND b.step <> ALL (:kept_steps::text[])
), detached AS (
  -- Its steps start children of their own again; those that still run are nobody's any more.
  DELETE FROM rkyc.child c WHERE c.parent_id = :job_id AND EXISTS (SELECT FROM gone) AND c.step <> ALL (:kept_steps::text[])
), adopted AS (
  DELETE FROM rkyc.orphaned o WHERE o.parent_id = :job_id AND EXISTS (SELECT FROM gone)
), reopened AS (
  UPDATE rkyc.child c SET state = NULL, ended_at = NULL WHERE c.child_id = :job_id AND EXISTS (SELECT FROM gone)
), buried AS (
  UPDATE rkyc.dead_letter SET state = 'requeued', archive_queue = NULL WHERE job_id = :job_id AND EXISTS (SELECT FROM gone)
), counted AS (
  INSERT INTO rkyc.branching (job_id, events) SELECT g.job_id, g.seq FROM gone g WHERE :is_forked::boolean
  ON CONFLICT (job_id) DO UPDATE SET events = greatest(rkyc.branching.events, excluded.events)
), uncounted AS (
  -- It begins before its fork: its one task counts by itself.
  DELETE FROM rkyc.branching b WHERE b.job_id = :job_id AND NOT :is_forked::boolean AND EXISTS (SELECT FROM gone)
), joins AS (
  INSERT INTO rkyc.join_point (job_id, step, branch, remaining)
  SELECT g.job_id, p.step, p.branch, p.remaining
  FROM gone g CROSS JOIN unnest(:join_steps::text[], :join_branches::int[], :join_remainings::int[]) AS p(step, branch, remaining)
  ON CONFLICT (job_id, step) DO UPDATE SET branch = excluded.branch, remaining = excluded.remaining
)
INSERT INTO rkyc.ready (lane, job_id, branch, step, events, started_at)
SELECT coalesce(s.lane, j.lane), g.job_id, s.branch, s.step, g.seq, g.started_at
FROM gone g CROSS JOIN LATERAL (SELECT j.lane FROM rkyc.job j WHERE j.id = g.job_id OFFSET 0) j
CROSS JOIN unnest(:start_steps::text[], :start_branches::int[], :start_lanes::text[]) AS s(step, branch, lane)
RETURNING lane;

-- name: list_runs
-- All jobs that a job came of and that came of it, oldest first.
WITH RECURSIVE above AS (
  SELECT j.id, 0 AS depth FROM rkyc.job j WHERE j.uuid = :uuid
  UNION ALL
  SELECT l.source_id, a.depth + 1 FROM above a CROSS JOIN LATERAL (
    SELECT l.source_id FROM rkyc.lineage l WHERE l.job_id = a.id OFFSET 0) l WHERE a.depth < 10000
), below AS (
  (SELECT a.id, 0 AS depth FROM above a ORDER BY a.depth DESC LIMIT 1)
  UNION ALL
  SELECT l.job_id, b.depth + 1 FROM below b CROSS JOIN LATERAL (
    SELECT l.job_id FROM rkyc.lineage l WHERE l.source_id = b.id OFFSET 0) l WHERE b.depth < 10000
)
SELECT s.job_id, l.kind, o.uuid AS source_id, s.version, s.status, s.created_at, s.finished_at, s.cost_usd
FROM (SELECT DISTINCT id FROM below) b
JOIN rkyc.job j ON j.id = b.id
CROSS JOIN LATERAL (SELECT * FROM rkyc.job_status s WHERE s.job_id = j.uuid OFFSET 0) s
LEFT JOIN rkyc.lineage l ON l.job_id = b.id
LEFT JOIN rkyc.job o ON o.id = l.source_id
ORDER BY b.id LIMIT :limit;

-- name: register_edition
WITH edition AS (
  INSERT INTO rkyc.pipeline_edition (name, version, sha256, identities, registered_at)
  VALUES (:name, :version, :sha256, :identities::jsonb, clock_timestamp())
  ON CONFLICT (name, version, sha256) DO UPDATE SET registered_at = excluded.registered_at
  RETURNING id
)
INSERT INTO rkyc.worker_edition (worker_id, edition_id) SELECT :worker_id, id FROM edition ON CONFLICT DO NOTHING;

-- name: read_outputs_of
SELECT c.step, c.output FROM rkyc.checkpoint c WHERE c.job_id = :job_id ORDER BY c.seq;

-- name: reopen_undone
-- What was undone no longer counts: a retry of the job, which has just ended in this transaction, does it again.
WITH moved AS (
  DELETE FROM rkyc.checkpoint c WHERE c.job_id = :job_id AND c.step <> ALL (:kept_steps::text[]) RETURNING c.*
), aside AS (
  INSERT INTO rkyc.superseded_checkpoint (job_id, seq, branch, step, next_step, attempt, fence, worker_id, output, degraded, warnings,
                                          metadata, started_at, finished_at, was_result, superseded_at)
  SELECT job_id, seq, branch, step, next_step, attempt, fence, worker_id, output, degraded, warnings, metadata, started_at, finished_at,
    false, clock_timestamp() FROM moved
), forgotten AS (
  UPDATE rkyc.journal u SET name = u.name || '~before:' || h.seq
  FROM rkyc.history h WHERE h.job_id = :job_id AND u.job_id = :job_id AND u.step <> ALL (:kept_steps::text[])
    AND u.name !~ '~before:[0-9]+$'
), silenced AS (
  DELETE FROM rkyc.heartbeat b WHERE b.job_id = :job_id AND b.step <> ALL (:kept_steps::text[])
), counted AS (
  INSERT INTO rkyc.branching (job_id, events) SELECT h.job_id, h.seq FROM rkyc.history h WHERE h.job_id = :job_id AND :is_forked::boolean
  ON CONFLICT (job_id) DO UPDATE SET events = greatest(rkyc.branching.events, excluded.events)
), uncounted AS (
  DELETE FROM rkyc.branching b WHERE b.job_id = :job_id AND NOT :is_forked::boolean
), joins AS (
  INSERT INTO rkyc.join_point (job_id, step, branch, remaining)
  SELECT :job_id, p.step, p.branch, p.remaining
  FROM unnest(:join_steps::text[], :join_branches::int[], :join_remainings::int[]) AS p(step, branch, remaining)
  ON CONFLICT (job_id, step) DO UPDATE SET branch = excluded.branch, remaining = excluded.remaining
)
UPDATE rkyc.history h SET metadata = coalesce(h.metadata, '{}') || :metadata::jsonb, open_tasks = (
  SELECT jsonb_agg(jsonb_build_object('branch', s.branch, 'step', s.step, 'lane', coalesce(s.lane, j.lane)))
  FROM rkyc.job j CROSS JOIN unnest(:start_steps::text[], :start_branches::int[], :start_lanes::text[]) AS s(step, branch, lane)
  WHERE j.id = :job_id)
WHERE h.job_id = :job_id;

-- name: continue_job
-- nothing -> pending: the next run of a job that has just completed in this transaction, of the newest version
WITH source AS (
  SELECT j.*, v.version AS newest, v.first_step, coalesce(v.first_lane, j.lane) AS first_lane
  FROM rkyc.job j CROSS JOIN LATERAL (
    SELECT v.* FROM rkyc.pipeline_version v WHERE v.name = j.pipeline ORDER BY v.version DESC LIMIT 1) v
  WHERE j.id = :job_id
), new_job AS (
  INSERT INTO rkyc.job (uuid, pipeline, version, lane, input, metadata, webhook_url, budget_usd, traits, created_at)
  SELECT :uuid, s.pipeline, s.newest, s.lane, :input::jsonb,
    (s.metadata - '{forked_from,forked_at,rerun_of}'::text[]) || jsonb_build_object('continued_from', s.uuid), s.webhook_url, s.budget_usd,
    -- What it was for its schedule it stays: its turn passes on at the end of the last run.
    nullif(s.traits - CASE WHEN s.traits ? 'schedule' THEN '{run_at,unique}' ELSE '{on_end,parent,run_at,unique}' END::text[], '{}'),
    clock_timestamp()
  FROM source s RETURNING id
), ticked AS (
  UPDATE rkyc.schedule_fire f SET job_uuid = :uuid WHERE f.ctid = ANY (ARRAY(
    SELECT l.place FROM source s CROSS JOIN LATERAL (
      SELECT f.ctid AS place, f.job_uuid FROM rkyc.schedule_fire f WHERE f.schedule = s.metadata ->> 'schedule' AND NOT f.by_hand
      ORDER BY f.tick DESC LIMIT 20
    ) l WHERE l.job_uuid = s.uuid))
), turned AS (
  UPDATE rkyc.schedule c SET turn_job = :uuid
  WHERE c.name = (SELECT s.traits ->> 'schedule' FROM source s) AND c.turn_job = (SELECT s.uuid FROM source s)
), linked AS (
  INSERT INTO rkyc.lineage (job_id, source_id, kind, at) SELECT n.id, :job_id, 'continue', clock_timestamp() FROM new_job n
)
INSERT INTO rkyc.ready (lane, job_id, step) SELECT s.first_lane, n.id, s.first_step FROM new_job n CROSS JOIN source s
RETURNING lane;
