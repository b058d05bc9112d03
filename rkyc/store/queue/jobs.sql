-- name: enqueue_jobs
-- nothing -> pending. The job rows come first: the transaction has its xid before `ready` draws numbers.
WITH pinned AS MATERIALIZED (
  SELECT v.version, v.first_step, coalesce(v.first_lane, :lane) AS lane,
    -- Its wait for a worker begins then.
    CASE WHEN :run_at::timestamptz > clock_timestamp() THEN coalesce(:traits::jsonb, '{}') || jsonb_build_object('run_at', :run_at)
         ELSE :traits::jsonb END AS traits
  FROM rkyc.pipeline_version v
  WHERE v.name = :pipeline AND EXISTS (SELECT FROM rkyc.lane l WHERE l.name = :lane)
  ORDER BY v.version DESC LIMIT 1
), new_job AS (
  INSERT INTO rkyc.job (uuid, pipeline, version, lane, input, metadata, idempotency_key, deadline_at, webhook_url, budget_usd, traits, created_at)
  SELECT w.uuid, :pipeline, p.version, :lane, w.input::jsonb, coalesce(:metadata::jsonb, '{}'), :idempotency_key,
    clock_timestamp() + make_interval(secs => :deadline_s::float8), :webhook_url, :budget_usd::float8, p.traits, clock_timestamp()
  FROM pinned p CROSS JOIN unnest(:uuids::uuid[], :inputs::text[]) AS w(uuid, input)
  RETURNING id
), now_ready AS (
  INSERT INTO rkyc.ready (lane, job_id, step)
  SELECT p.lane, j.id, p.first_step FROM new_job j CROSS JOIN pinned p
  WHERE :run_at::timestamptz IS NULL OR :run_at <= clock_timestamp()
), later AS (
  INSERT INTO rkyc.scheduled (due_at, reason, lane, job_id, step)
  SELECT :run_at, 'scheduled', p.lane, j.id, p.first_step FROM new_job j CROSS JOIN pinned p WHERE :run_at > clock_timestamp()
)
-- The hint is sent when this commits: a statement of its own would be one more round trip before a job starts.
SELECT (SELECT lane FROM pinned) AS lane, (SELECT count(*)::int FROM new_job) AS enqueued,
  (SELECT pg_notify('rkyc_wake', CASE WHEN :run_at > clock_timestamp() THEN 'due' ELSE lane END) FROM pinned WHERE :tells) AS told;

-- name: enqueue_job
-- The same for one that may begin at once: without arrays and alternatives it is a seventh faster, commit included.
WITH pinned AS MATERIALIZED (
  SELECT v.version, v.first_step, coalesce(v.first_lane, :lane) AS lane
  FROM rkyc.pipeline_version v
  WHERE v.name = :pipeline AND EXISTS (SELECT FROM rkyc.lane l WHERE l.name = :lane)
  ORDER BY v.version DESC LIMIT 1
), new_job AS (
  INSERT INTO rkyc.job (uuid, pipeline, version, lane, input, metadata, idempotency_key, deadline_at, webhook_url, budget_usd, traits, created_at)
  SELECT :uuid::uuid, :pipeline, p.version, :lane, :input::text::jsonb, coalesce(:metadata::jsonb, '{}'), :idempotency_key,
    clock_timestamp() + make_interval(secs => :deadline_s::float8), :webhook_url, :budget_usd::float8, :traits::jsonb, clock_timestamp()
  FROM pinned p
  RETURNING id
), now_ready AS (
  INSERT INTO rkyc.ready (lane, job_id, step)
  SELECT p.lane, j.id, p.first_step FROM new_job j CROSS JOIN pinned p
  RETURNING lane
)
SELECT lane, 1 AS enqueued, CASE WHEN :tells THEN pg_notify('rkyc_wake', lane) END AS told FROM now_ready;

-- name: enqueue_fair_jobs
-- The same for jobs with a fairness key: their tasks wait for its turn.
WITH pinned AS MATERIALIZED (
  SELECT v.version, v.first_step, coalesce(v.first_lane, :lane) AS lane,
    CASE WHEN :run_at::timestamptz > clock_timestamp() THEN coalesce(:traits::jsonb, '{}') || jsonb_build_object('run_at', :run_at)
         ELSE :traits::jsonb END AS traits
  FROM rkyc.pipeline_version v
  WHERE v.name = :pipeline AND EXISTS (SELECT FROM rkyc.lane l WHERE l.name = :lane)
  ORDER BY v.version DESC LIMIT 1
), new_job AS (
  INSERT INTO rkyc.job (uuid, pipeline, version, lane, input, metadata, idempotency_key, deadline_at, webhook_url, budget_usd, traits, created_at)
  SELECT w.uuid, :pipeline, p.version, :lane, w.input::jsonb, coalesce(:metadata::jsonb, '{}'), :idempotency_key,
    clock_timestamp() + make_interval(secs => :deadline_s::float8), :webhook_url, :budget_usd::float8, p.traits, clock_timestamp()
  FROM pinned p CROSS JOIN unnest(:uuids::uuid[], :inputs::text[]) AS w(uuid, input)
  RETURNING id
), now_waiting AS (
  INSERT INTO rkyc.waiting (kind, wake_key, detail, lane, job_id, step, since)
  SELECT 'fair', :fair_key, 'a turn of ' || :fair_key::text, p.lane, j.id, p.first_step, clock_timestamp() FROM new_job j CROSS JOIN pinned p
  WHERE :run_at::timestamptz IS NULL OR :run_at <= clock_timestamp()
), later AS (
  INSERT INTO rkyc.scheduled (due_at, reason, lane, job_id, step)
  SELECT :run_at, 'scheduled', p.lane, j.id, p.first_step FROM new_job j CROSS JOIN pinned p WHERE :run_at > clock_timestamp()
)
SELECT (SELECT 'fair:' FROM pinned) AS lane, (SELECT count(*)::int FROM new_job) AS enqueued,
  (SELECT pg_notify('rkyc_wake', CASE WHEN :run_at > clock_timestamp() THEN 'due' ELSE 'fair:' END) FROM pinned WHERE :tells) AS told;

-- name: take_idempotency_key
-- The hash is of Postgres's own text of the input, as in rkyc.enqueue: the same request through any door.
INSERT INTO rkyc.idempotency (key, job_uuid, request_sha256, created_at)
VALUES (:key, :uuid, sha256(convert_to(:pipeline::text || ' ' || :input::text::jsonb::text, 'UTF8')), clock_timestamp())
ON CONFLICT (key) DO NOTHING RETURNING key;

-- name: find_same_request
-- An older program hashed in another way: then the job itself tells what was asked for.
-- OFFSET 0: else a plan may hash all jobs to look at one.
SELECT i.job_uuid FROM rkyc.idempotency i
LEFT JOIN LATERAL (SELECT j.pipeline, j.input FROM rkyc.job j WHERE j.uuid = i.job_uuid OFFSET 0) j ON true
WHERE i.key = :key AND (
  i.request_sha256 = sha256(convert_to(:pipeline::text || ' ' || :input::text::jsonb::text, 'UTF8'))
  OR (j.pipeline = :pipeline AND j.input::text = :input::text::jsonb::text));

-- name: list_lanes
SELECT name FROM rkyc.lane ORDER BY rank, name;

-- name: find_job
SELECT id, pipeline, version, lane FROM rkyc.job WHERE uuid = :uuid;

-- name: read_job
SELECT s.*, j.input, h.result, h.error_class, h.error_details,
  (SELECT jsonb_agg(jsonb_build_object('step', w.step, 'items', w.warnings) ORDER BY w.seq) FROM (
    SELECT c.seq, c.step, c.warnings FROM rkyc.checkpoint c WHERE c.job_id = j.id AND c.warnings IS NOT NULL
    UNION ALL SELECT h.seq, h.step, h.warnings WHERE h.warnings IS NOT NULL) w) AS warnings,
  (SELECT jsonb_build_object('calls', count(*), 'tokens_in', coalesce(sum(u.tokens_in), 0), 'tokens_out', coalesce(sum(u.tokens_out), 0),
     'cost_usd', coalesce(sum(u.cost_usd), 0)) FROM rkyc.journal u WHERE u.job_id = j.id) AS usage
FROM rkyc.job_status s JOIN rkyc.job j ON j.uuid = s.job_id LEFT JOIN rkyc.history h ON h.job_id = j.id
WHERE s.job_id = :uuid;

-- name: read_steps
SELECT s.step, s.item_key, s.item, s.status, s.wait_reason, s.degraded, s.attempt, s.ms, s.error_code, s.queued_at, s.started_at, s.finished_at,
  s.worker,
  (SELECT string_agg(DISTINCT u.provider, ', ') FROM rkyc.journal u JOIN rkyc.job j ON j.id = u.job_id WHERE j.uuid = :uuid AND u.step = s.step)
    AS provider
FROM rkyc.step_status s WHERE s.job_id = :uuid ORDER BY s.index, s.item;

-- name: read_outputs
-- OFFSET 0: a plan that was made while the tables were small would join all of them.
SELECT o.step, o.output FROM rkyc.job j
CROSS JOIN LATERAL (
  SELECT c.step, c.output FROM rkyc.checkpoint c WHERE c.job_id = j.id
  UNION ALL SELECT h.step, h.result FROM rkyc.history h WHERE h.job_id = j.id AND h.state = 'completed'
  OFFSET 0
) o
WHERE j.uuid = :uuid;

-- name: read_end
SELECT h.state, h.result, h.error_code, h.error_message FROM rkyc.history h JOIN rkyc.job j ON j.id = h.job_id WHERE j.uuid = :uuid;

-- name: cancel_chain
-- pending, running -> cancelled. The lease is taken here: a commit of the worker that comes later finds none.
-- Only leases that were locked before: one that was claimed since may have a checkpoint under way that this
-- snapshot would miss. And no job that forked since. Zero rows: look again.
WITH chain AS (SELECT 1 WHERE NOT EXISTS (SELECT FROM rkyc.branching WHERE job_id = :job_id)),
a AS (DELETE FROM rkyc.ready WHERE job_id = :job_id AND EXISTS (SELECT FROM chain) RETURNING branch, step, lane, events, error_attempts, crash_attempts, started_at,
             NULL::bigint AS fence, NULL::int AS worker_id, NULL::timestamptz AS step_started_at),
b AS (DELETE FROM rkyc.running WHERE job_id = :job_id AND fence = ANY (:fences::bigint[]) AND EXISTS (SELECT FROM chain) RETURNING branch, step, lane, events, error_attempts, crash_attempts, started_at,
             fence, worker_id, step_started_at),
c AS (DELETE FROM rkyc.scheduled WHERE job_id = :job_id AND EXISTS (SELECT FROM chain) RETURNING branch, step, lane, events, error_attempts, crash_attempts, started_at,
             NULL::bigint, NULL::int, NULL::timestamptz),
d AS (DELETE FROM rkyc.waiting WHERE job_id = :job_id AND EXISTS (SELECT FROM chain) RETURNING branch, step, lane, events, error_attempts, crash_attempts, started_at,
             NULL::bigint, NULL::int, NULL::timestamptz),
swept AS (
  SELECT t.*, coalesce(c.seq, 0) AS last_seq, CASE WHEN t.fence IS NOT NULL THEN c.next_step END AS next_step
  FROM (TABLE a UNION ALL TABLE b UNION ALL TABLE c UNION ALL TABLE d) t
  LEFT JOIN LATERAL (
    SELECT c.seq, c.next_step FROM rkyc.checkpoint c WHERE c.job_id = :job_id AND c.branch = t.branch ORDER BY c.seq DESC LIMIT 1
  ) c ON true
), first AS (SELECT * FROM swept ORDER BY branch LIMIT 1)
INSERT INTO rkyc.history (job_id, state, seq, branch, step, fence, worker_id, error_attempts, crash_attempts, open_tasks, started_at,
                          step_started_at, finished_at, error_message)
SELECT :job_id, 'cancelled', greatest(f.events, f.last_seq, coalesce((SELECT b.events FROM rkyc.branching b WHERE b.job_id = :job_id), 0)) + 1,
  f.branch, coalesce(f.next_step, f.step), f.fence, f.worker_id, f.error_attempts, f.crash_attempts,
  (SELECT jsonb_agg(jsonb_build_object('branch', s.branch, 'step', coalesce(s.next_step, s.step), 'lane', s.lane)) FROM swept s),
  f.started_at, f.step_started_at, clock_timestamp(), :reason
FROM first f
RETURNING job_id;

-- name: cancel_branched
-- The same for a job that forked, whose tasks were swept before in this transaction.
INSERT INTO rkyc.history (job_id, state, seq, branch, step, open_tasks, finished_at, error_message, started_at)
SELECT b.job_id, 'cancelled', b.events + 1, (f.task ->> 'branch')::int, f.task ->> 'step', :open_tasks::jsonb, clock_timestamp(), :reason,
  coalesce((SELECT min((t ->> 'started_at')::timestamptz) FROM jsonb_array_elements(:open_tasks::jsonb) t),
           (SELECT min(c.started_at) FROM rkyc.checkpoint c WHERE c.job_id = b.job_id))
FROM rkyc.branching b
CROSS JOIN LATERAL (SELECT t AS task FROM jsonb_array_elements(:open_tasks::jsonb) t ORDER BY (t ->> 'branch')::int LIMIT 1) f
WHERE b.job_id = :job_id
RETURNING job_id;

-- name: lock_branching_row
SELECT events FROM rkyc.branching WHERE job_id = :job_id FOR UPDATE;

-- name: is_finished
SELECT state FROM rkyc.history WHERE job_id = :job_id;

-- name: retry_job
-- failed, cancelled -> pending, at the steps that were left
WITH gone AS (
  DELETE FROM rkyc.history WHERE job_id = :job_id AND state IN ('failed', 'cancelled') RETURNING *
), told AS (
  INSERT INTO rkyc.event (job_id, seq, type, branch, step, attempt, worker_id, data, at)
  SELECT job_id, seq, 'job.retried', branch, step, attempt, worker_id,
    jsonb_build_object('state', state, 'error_code', error_code, 'error', error_message, 'started_at', started_at, 'finished_at', finished_at),
    clock_timestamp() FROM gone
), buried AS (
  UPDATE rkyc.dead_letter SET state = 'requeued', archive_queue = NULL WHERE job_id = :job_id AND EXISTS (SELECT FROM gone)
), forgotten AS (
  -- Waits that nobody answered in time begin anew. What a wait wrote and nothing else: a call may be named like one.
  DELETE FROM rkyc.journal n USING gone g
  WHERE n.job_id = g.job_id AND (n.name LIKE 'signal:%' OR n.name LIKE 'event:%') AND (
    n.answer IN ('{"timed_out": true}', jsonb_build_object('timed_out', true, 'payload', n.answer -> 'payload'))
    OR n.name LIKE '% until' AND n.answer = jsonb_build_object('due_at', n.answer -> 'due_at'))
), lost AS (
  -- Children that did not complete are started anew; those that run go on. Those of steps that were undone, which no
  -- journal remembers, belong to nobody any more.
  DELETE FROM rkyc.child c USING gone g WHERE c.parent_id = g.job_id AND (c.state IN ('failed', 'cancelled') OR NOT EXISTS (
    SELECT FROM rkyc.journal n WHERE n.job_id = c.parent_id AND n.step = c.step AND n.branch = c.branch AND n.name = c.name))
  RETURNING c.parent_id, c.step, c.branch, c.name
), unspawned AS (
  DELETE FROM rkyc.journal n USING lost l WHERE n.job_id = l.parent_id AND n.step = l.step AND n.branch = l.branch AND n.name = l.name
), adopted AS (
  DELETE FROM rkyc.orphaned o USING gone g WHERE o.parent_id = g.job_id
), reopened AS (
  UPDATE rkyc.child c SET state = NULL, ended_at = NULL FROM gone g WHERE c.child_id = g.job_id
), counted AS (
  UPDATE rkyc.branching b SET events = greatest(b.events, g.seq) FROM gone g WHERE b.job_id = g.job_id
), held AS (
  -- Items of a map that waited for one before them go on waiting.
  INSERT INTO rkyc.waiting (kind, wake_key, lane, job_id, branch, step, events, started_at, since)
  SELECT 'map', g.job_id || ':' || (t.value ->> 'step'), t.value ->> 'lane', g.job_id, (t.value ->> 'branch')::int, t.value ->> 'step', g.seq,
    g.started_at, clock_timestamp()
  FROM gone g CROSS JOIN LATERAL jsonb_array_elements(g.open_tasks) t WHERE t.value -> 'held' = 'true'
)
INSERT INTO rkyc.ready (lane, job_id, branch, step, events, started_at)
SELECT t.value ->> 'lane', g.job_id, (t.value ->> 'branch')::int, t.value ->> 'step', g.seq, g.started_at
FROM gone g CROSS JOIN LATERAL jsonb_array_elements(g.open_tasks) t WHERE t.value -> 'held' IS DISTINCT FROM 'true'
RETURNING lane;

-- name: notify
-- A hint need not be durable: its commit does not wait for the disk.
SELECT set_config('synchronous_commit', 'off', true), pg_notify(:channel, p) FROM unnest(:payloads::text[]) p;
