-- Maps: an item per element of a list, on a branch of its own from 131072 on (map * 131072 + index). And what a route
-- went past, in the views. Locks `checkpoint` against writers while its new index is built: on a large table build it
-- before, CONCURRENTLY; it is empty as long as no map ran.

CREATE TABLE rkyc.map_item (
  job_id bigint NOT NULL,
  branch int NOT NULL CHECK (branch >= 131072),
  key text NOT NULL,
  input jsonb NOT NULL,
  PRIMARY KEY (job_id, branch)
) WITH (autovacuum_vacuum_insert_threshold = 200000, autovacuum_vacuum_insert_scale_factor = 0, autovacuum_freeze_min_age = 0,
        autovacuum_analyze_threshold = 2000);

-- What an item has done, without a walk through all that the job has.
CREATE INDEX IF NOT EXISTS checkpoint_item ON rkyc.checkpoint (job_id, branch, seq) WHERE branch >= 131072;

CREATE FUNCTION rkyc.map_results(job bigint) RETURNS TABLE (name text, results text, seq int) LANGUAGE sql STABLE PARALLEL SAFE AS $$
  -- One row per map, `*` and its branch: what the last step of each item gave, as a JSON list in the order of the elements.
  SELECT '*' || o.branch / 131072, '[' || string_agg(o.output, ',' ORDER BY o.branch) || ']', max(o.seq) FROM (
    SELECT DISTINCT ON (c.branch) c.branch, coalesce(c.output::text, 'null') AS output, c.seq
    FROM rkyc.checkpoint c WHERE c.job_id = job AND c.branch >= 131072 ORDER BY c.branch, c.seq DESC
  ) o GROUP BY o.branch / 131072
$$;

CREATE FUNCTION rkyc.outputs_of(job bigint, of_branch int) RETURNS text[] LANGUAGE sql STABLE PARALLEL SAFE AS $$
  -- Pairs (step, output as text), the last one of a step last. An item gets its element, its key and what its own branch
  -- has done. Above 200 MB the answer would fail the claim for everyone: an empty array fails this job alone.
  SELECT CASE WHEN of_branch < 131072 THEN (
    SELECT CASE WHEN sum(octet_length(o.output)) > 200000000 THEN '{}' ELSE array_agg(ARRAY[o.step, o.output] ORDER BY o.seq) END
    FROM (
      SELECT c.step, coalesce(c.output::text, 'null') AS output, c.seq FROM rkyc.checkpoint c WHERE c.job_id = job AND c.branch < 131072
      UNION ALL
      SELECT m.name, m.results, m.seq FROM rkyc.map_results(job) m
    ) o
  ) ELSE (
    SELECT array_agg(ARRAY[o.step, o.output] ORDER BY o.seq)
    FROM (
      SELECT '*item' AS step, i.input::text AS output, -1 AS seq FROM rkyc.map_item i WHERE i.job_id = job AND i.branch = of_branch
      UNION ALL
      SELECT '*key', i.key, -1 FROM rkyc.map_item i WHERE i.job_id = job AND i.branch = of_branch
      UNION ALL
      SELECT c.step, coalesce(c.output::text, 'null'), c.seq FROM rkyc.checkpoint c
      WHERE c.job_id = job AND c.branch = of_branch AND c.branch >= 131072
    ) o
  ) END
$$;

-- A map's step counts by how many of its items have done it.
CREATE OR REPLACE VIEW rkyc.job_status AS
SELECT
  j.uuid AS job_id, j.pipeline, j.version, j.lane, l.rank AS priority,
  (CASE WHEN h.job_id IS NOT NULL THEN h.state WHEN r.job_id IS NOT NULL THEN 'running' ELSE 'pending' END)::rkyc.job_state AS status,
  CASE WHEN h.job_id IS NULL AND r.job_id IS NULL THEN CASE WHEN p.name IS NULL THEN w.wait_reason ELSE 'paused' END END AS wait_reason,
  coalesce(h.step, r.step, w.step) AS pipeline_step,
  CASE WHEN h.state = 'completed' THEN 100 ELSE least(99, coalesce(done.share, 0)) END::int AS progress_pct,
  coalesce(h.error_code, w.error_code) AS error_code,
  coalesce(h.error_message, w.error_message) AS error_message,
  coalesce(h.error_attempts, r.error_attempts, w.error_attempts, 0)::int AS error_attempts,
  coalesce(h.crash_attempts, r.crash_attempts, w.crash_attempts, 0)::int AS crash_attempts,
  k.name AS worker,
  j.created_at,
  coalesce(h.started_at, r.started_at, w.started_at) AS started_at,
  coalesce(h.finished_at, done.last_at, r.step_started_at, j.created_at) AS updated_at,
  h.finished_at,
  (SELECT sum(u.cost_usd) FROM rkyc.journal u WHERE u.job_id = j.id) AS cost_usd,
  j.metadata || coalesce(done.metadata, '{}') || coalesce(h.metadata, '{}') AS metadata,
  coalesce(h.degraded, false) OR coalesce(done.degraded, false) AS partial,
  w.due_at, coalesce(p.kind || ':' || p.name, w.wake_key) AS wake_key,
  CASE WHEN h.job_id IS NULL AND r.job_id IS NULL THEN
    CASE WHEN p.name IS NULL THEN w.detail
    ELSE p.kind || ' ' || p.name || ' is paused by ' || p.paused_by || ' since '
      || to_char(p.since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SSZ') || coalesce(': ' || p.reason, '') END END AS wait_detail
FROM rkyc.job j
LEFT JOIN rkyc.lane l ON l.name = j.lane
LEFT JOIN rkyc.history h ON h.job_id = j.id
LEFT JOIN LATERAL (SELECT * FROM rkyc.running_task r WHERE r.job_id = j.id ORDER BY r.branch LIMIT 1) r ON h.job_id IS NULL
LEFT JOIN LATERAL (SELECT * FROM rkyc.waiting_task w WHERE w.job_id = j.id ORDER BY w.branch LIMIT 1) w ON h.job_id IS NULL
LEFT JOIN LATERAL (
  SELECT p.* FROM rkyc.pause p WHERE p.resumed_at IS NULL AND (p.kind, p.name) IN (
    ('lane', w.lane), ('pipeline', j.pipeline), ('tenant', j.traits ->> 'tenant')) ORDER BY p.kind LIMIT 1
) p ON w.wait_reason IN ('queued', 'fair') OR (w.wait_reason = 'paused' AND w.wake_key = p.kind || ':' || p.name)
LEFT JOIN LATERAL (
  SELECT max(c.finished_at) AS last_at, bool_or(c.degraded) AS degraded,
    (SELECT sum((s ->> 'share')::numeric * CASE WHEN s ? 'map' THEN (
       SELECT count(DISTINCT m.branch)::numeric / greatest(1, (
         SELECT i.branch % 131072 + 1 FROM rkyc.map_item i
         WHERE i.job_id = j.id AND i.branch / 131072 = (s ->> 'map')::int ORDER BY i.branch DESC LIMIT 1))
       FROM rkyc.checkpoint m WHERE m.job_id = j.id AND m.branch >= 131072 AND m.step = s ->> 'name') ELSE 1 END)
     FROM rkyc.pipeline_version v, jsonb_array_elements(v.graph -> 'steps') s
     WHERE v.name = j.pipeline AND v.version = j.version AND s ->> 'name' = ANY (array_agg(c.step))) AS share,
    (SELECT jsonb_object_agg(m.key, m.value ORDER BY m.seq)
     FROM (SELECT c2.seq, e.key, e.value FROM rkyc.checkpoint c2, jsonb_each(c2.metadata) e WHERE c2.job_id = j.id) m) AS metadata
  FROM rkyc.checkpoint c WHERE c.job_id = j.id
) done ON true
LEFT JOIN rkyc.worker k ON k.id = coalesce(h.worker_id, r.worker_id);

-- One row per step of the job's graph, and per item of a map: what is done, what runs, what waits and why, what was
-- skipped. `gates` are the choices of routes that a step needs; what a completed job never ran was skipped too.
CREATE OR REPLACE VIEW rkyc.step_status AS
SELECT
  j.uuid AS job_id, g.step, ''::text AS item_key, coalesce(x.attempt, 0)::int AS attempt,
  coalesce(x.status, CASE WHEN h.state = 'completed' OR EXISTS (
      SELECT FROM jsonb_array_elements(g.gates) gate JOIN rkyc.checkpoint c ON c.step = gate ->> 0
      WHERE c.job_id = j.id AND c.next_step <> gate ->> 1) THEN 'skipped'
    WHEN h.state IN ('failed', 'cancelled') THEN 'cancelled' ELSE 'pending' END)::rkyc.step_state AS status,
  coalesce(x.degraded, false) AS degraded, x.error_code,
  x.queued_at, x.started_at, x.finished_at,
  (extract(epoch FROM x.finished_at - x.started_at) * 1000)::bigint AS ms,
  k.name AS worker, g.position AS index, x.wait_reason, NULL::int AS item
FROM rkyc.job j
JOIN rkyc.pipeline_version v ON v.name = j.pipeline AND v.version = j.version
CROSS JOIN LATERAL (
  SELECT s.value ->> 'name' AS step, s.ordinality::int AS position, s.value -> 'gates' AS gates, (s.value ->> 'map')::int AS map
  FROM jsonb_array_elements(v.graph -> 'steps') WITH ORDINALITY s
) g
LEFT JOIN rkyc.history h ON h.job_id = j.id
LEFT JOIN LATERAL (
  SELECT * FROM (
    SELECT 3 AS rank, c.attempt::int, 'completed' AS status, c.degraded, NULL::text AS error_code,
           NULL::timestamptz AS queued_at, c.started_at, c.finished_at, c.worker_id, c.seq, NULL::text AS wait_reason
    FROM rkyc.checkpoint c WHERE c.job_id = j.id AND c.step = g.step
    UNION ALL
    SELECT 1, h.attempt::int, CASE h.state WHEN 'completed' THEN 'completed' WHEN 'failed' THEN 'failed' ELSE 'cancelled' END, h.degraded,
           h.error_code, NULL, h.step_started_at, h.finished_at, h.worker_id, h.seq, NULL
    WHERE h.step = g.step
    UNION ALL
    SELECT 2, r.attempt, 'running', false, NULL, NULL, r.step_started_at, NULL, r.worker_id, 0, NULL
    FROM rkyc.running_task r WHERE r.job_id = j.id AND r.step = g.step
    UNION ALL
    SELECT 2, w.error_attempts + w.crash_attempts, 'pending', false, w.error_code, w.due_at, NULL, NULL, NULL, 0, w.wait_reason
    FROM rkyc.waiting_task w WHERE w.job_id = j.id AND w.step = g.step
  ) one ORDER BY one.rank, one.seq DESC LIMIT 1
) x ON true
LEFT JOIN rkyc.worker k ON k.id = x.worker_id
WHERE g.map IS NULL OR NOT EXISTS (
  SELECT FROM rkyc.map_item i WHERE i.job_id = j.id AND i.branch >= g.map * 131072 AND i.branch < (g.map + 1) * 131072)
UNION ALL
SELECT
  j.uuid, g.step, x.key, coalesce(x.attempt, 0)::int,
  CASE WHEN h.step = g.step AND h.branch = x.branch THEN CASE h.state WHEN 'failed' THEN 'failed' ELSE 'cancelled' END
    WHEN x.status IS NOT NULL THEN x.status
    -- Neither done nor under way: an arm that a route of this item went past, or what its failure skipped.
    WHEN x.is_open THEN 'pending' WHEN h.state IN ('failed', 'cancelled') THEN 'cancelled' ELSE 'skipped' END::rkyc.step_state,
  coalesce(x.degraded, false), CASE WHEN h.step = g.step AND h.branch = x.branch THEN h.error_code ELSE x.error_code END,
  x.queued_at, x.started_at, x.finished_at,
  (extract(epoch FROM x.finished_at - x.started_at) * 1000)::bigint,
  k.name, g.position, x.wait_reason, x.branch % 131072
FROM rkyc.job j
JOIN rkyc.pipeline_version v ON v.name = j.pipeline AND v.version = j.version
CROSS JOIN LATERAL (
  SELECT s.value ->> 'name' AS step, s.ordinality::int AS position, (s.value ->> 'map')::int AS map
  FROM jsonb_array_elements(v.graph -> 'steps') WITH ORDINALITY s WHERE s.value ? 'map'
) g
LEFT JOIN rkyc.history h ON h.job_id = j.id
CROSS JOIN LATERAL (
  SELECT i.branch, i.key,
    CASE WHEN d.branch IS NOT NULL THEN 'completed' WHEN r.step = g.step THEN 'running' WHEN w.step = g.step THEN 'pending' END AS status,
    r.branch IS NOT NULL OR w.branch IS NOT NULL AS is_open,
    CASE WHEN d.branch IS NOT NULL THEN d.attempt WHEN r.step = g.step THEN r.attempt
      WHEN w.step = g.step THEN w.error_attempts + w.crash_attempts END AS attempt,
    d.degraded, CASE WHEN w.step = g.step THEN w.error_code END AS error_code, CASE WHEN w.step = g.step THEN w.due_at END AS queued_at,
    coalesce(d.started_at, CASE WHEN r.step = g.step THEN r.step_started_at END) AS started_at, d.finished_at,
    coalesce(d.worker_id, CASE WHEN r.step = g.step THEN r.worker_id END) AS worker_id, CASE WHEN w.step = g.step THEN w.wait_reason END AS wait_reason
  FROM (SELECT * FROM rkyc.map_item i WHERE i.job_id = j.id AND i.branch >= g.map * 131072 AND i.branch < (g.map + 1) * 131072) i
  LEFT JOIN (
    SELECT DISTINCT ON (c.branch) c.branch, c.attempt, c.degraded, c.started_at, c.finished_at, c.worker_id
    FROM rkyc.checkpoint c WHERE c.job_id = j.id AND c.branch >= 131072 AND c.step = g.step ORDER BY c.branch, c.seq DESC
  ) d ON d.branch = i.branch
  LEFT JOIN (SELECT * FROM rkyc.running_task r WHERE r.job_id = j.id) r ON r.branch = i.branch
  LEFT JOIN (SELECT * FROM rkyc.waiting_task w WHERE w.job_id = j.id) w ON w.branch = i.branch
) x
LEFT JOIN rkyc.worker k ON k.id = x.worker_id
ORDER BY 1, 13, 15;

CREATE OR REPLACE VIEW rkyc.task_logs AS
SELECT s.job_id || ':' || s.step || CASE WHEN s.item_key <> '' THEN ':' || s.item_key ELSE '' END AS task_id, s.step AS task_name,
  CASE s.status WHEN 'pending' THEN CASE WHEN s.attempt > 0 THEN 'RETRY' ELSE 'PENDING' END WHEN 'running' THEN 'STARTED'
                WHEN 'completed' THEN 'SUCCESS' WHEN 'failed' THEN 'FAILURE' ELSE 'REVOKED' END AS status,
  left(s.error_code, 512) AS error, s.started_at, s.finished_at, greatest(s.attempt - 1, 0) AS retries,
  s.job_id AS chain_execution
FROM rkyc.step_status s;
