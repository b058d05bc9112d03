-- name: read_plan
-- The job's inner id, and the graph that its events are derived by.
SELECT j.id, j.pipeline, v.graph
FROM rkyc.job j JOIN rkyc.pipeline_version v ON v.name = j.pipeline AND v.version = j.version WHERE j.uuid = :uuid;

-- name: read_events
-- What happened to a job from number `since` on, in its order; most of it is derived from checkpoints. One
-- snapshot: a checkpoint is never seen without the start before it.
-- `next_step`: what a checkpoint started, where it is one step. `items`: of how many elements of a map one row tells.
-- Of `undo:begin` its own words are told: how the job ends when all is undone.
SELECT r.seq, r.kind, r.type, r.step, r.at, r.attempt, r.degraded, r.data, r.result, r.next_step, r.branch, r.items, r.worker_id FROM (
  SELECT 0 AS seq, 1 AS rank, 'created' AS kind, NULL::text AS type, NULL::text AS step, j.created_at AS at, NULL::int AS attempt,
    false AS degraded, NULL::jsonb AS data, NULL::jsonb AS result, NULL::text AS next_step, 0 AS branch, NULL::int AS items,
    NULL::int AS worker_id
  FROM rkyc.job j WHERE j.id = :job_id
  UNION ALL
  SELECT c.seq, 2, 'checkpoint', NULL, c.step, c.finished_at, c.attempt, c.degraded,
    CASE WHEN c.step = 'undo:begin' THEN c.output END, NULL, c.next_step, c.branch,
    CASE WHEN c.branch >= 131072 THEN (
      SELECT i.branch % 131072 + 1 FROM rkyc.map_item i WHERE i.job_id = :job_id AND i.branch < (c.branch / 131072 + 1) * 131072
      ORDER BY i.branch DESC LIMIT 1) END, c.worker_id
  FROM rkyc.checkpoint c WHERE c.job_id = :job_id AND c.seq >= :since
  UNION ALL
  -- What happened stays told, though it no longer counts; a result is told by the event that undid it.
  SELECT c.seq, 2, 'checkpoint', NULL, c.step, c.finished_at, c.attempt, c.degraded,
    CASE WHEN c.step = 'undo:begin' THEN c.output END, NULL, c.next_step, c.branch, NULL, c.worker_id
  FROM rkyc.superseded_checkpoint c WHERE c.job_id = :job_id AND c.seq >= :since AND NOT c.was_result
  UNION ALL
  SELECT e.seq, 3, 'event', e.type, e.step, e.at, e.attempt, false, e.data, NULL, NULL, e.branch, NULL, e.worker_id
  FROM rkyc.event e WHERE e.job_id = :job_id AND e.seq >= :since
  UNION ALL
  SELECT h.seq, 4, 'history', h.state, h.step, h.finished_at, h.attempt, h.degraded,
    jsonb_build_object('error_code', h.error_code, 'error', h.error_message), h.result, NULL, h.branch, NULL,
    h.worker_id
  FROM rkyc.history h WHERE h.job_id = :job_id
  UNION ALL
  -- A job that ended before it ever started, and was started by a person, starts after that.
  SELECT coalesce((SELECT max(e.seq) FROM rkyc.event e WHERE e.job_id = :job_id AND e.type = 'job.retried'
                   AND e.data -> 'started_at' = 'null'), 0), 5, 'started', NULL, NULL, s.at, NULL, false, NULL, NULL, NULL, 0, NULL, NULL
  FROM (SELECT coalesce(
    (SELECT min(r.started_at) FROM rkyc.running r WHERE r.job_id = :job_id),
    (SELECT h.started_at FROM rkyc.history h WHERE h.job_id = :job_id),
    (SELECT min(w.started_at) FROM rkyc.waiting_task w WHERE w.job_id = :job_id)) AS at) s WHERE s.at IS NOT NULL
  UNION ALL
  -- Several attempts may begin at one number: a task that was given back is not charged.
  SELECT m.seq, 6, 'stream', CASE WHEN m.is_end THEN 'stream.completed' ELSE 'stream.started' END, m.step, m.at, m.attempt, false,
    jsonb_build_object('place', row_number() OVER (PARTITION BY m.seq ORDER BY m.fence, m.is_end), 'chunks', m.chunks, 'chars', m.chars),
    NULL, NULL, m.branch, NULL, NULL
  FROM rkyc.stream_event m WHERE m.job_id = :job_id AND m.seq >= :since
) r WHERE r.seq >= :since ORDER BY r.seq, r.rank, (r.data ->> 'place')::int LIMIT :limit;

-- name: list_worker_names
SELECT w.id, w.name FROM rkyc.worker w WHERE w.id = ANY (:worker_ids::int[]);

-- name: read_marks
-- How far each of these jobs is: where a mark changed, something happened.
SELECT w.id AS job_id, concat_ws('.',
  coalesce((SELECT max(c.seq) FROM rkyc.checkpoint c WHERE c.job_id = w.id), 0),
  coalesce((SELECT max(e.seq) FROM rkyc.event e WHERE e.job_id = w.id), 0),
  coalesce((SELECT h.seq FROM rkyc.history h WHERE h.job_id = w.id), 0),
  (SELECT count(*) FROM rkyc.stream_event m WHERE m.job_id = w.id),
  EXISTS (SELECT FROM rkyc.running r WHERE r.job_id = w.id)) AS mark
FROM unnest(:job_ids::bigint[]) AS w(id);
