-- name: read_events
-- All that happened to a job after `after`, in its order; most of it is derived from checkpoints.
SELECT * FROM (
  SELECT 0 AS seq, 'job.created' AS type, NULL::text AS step, NULL::text AS next_step, j.created_at AS at, NULL::int AS attempt, NULL::jsonb AS data
  FROM rkyc.job j WHERE j.id = :job_id
  UNION ALL
  SELECT c.seq, 'step.completed', c.step, c.next_step, c.finished_at, c.attempt, jsonb_build_object('degraded', c.degraded)
  FROM rkyc.checkpoint c WHERE c.job_id = :job_id
  UNION ALL
  SELECT e.seq, e.type, e.step, NULL, e.at, e.attempt, e.data FROM rkyc.event e WHERE e.job_id = :job_id
  UNION ALL
  SELECT h.seq, 'job.' || h.state, h.step, NULL, h.finished_at, h.attempt,
    jsonb_build_object('error_code', h.error_code, 'error', h.error_message, 'result', h.result, 'degraded', h.degraded)
  FROM rkyc.history h WHERE h.job_id = :job_id
) all_events WHERE seq > :after OR (seq = 0 AND :after < 0) ORDER BY seq;

-- name: read_start
-- When the job started and where it first began, once it did.
SELECT coalesce(
    (SELECT min(r.started_at) FROM rkyc.running r WHERE r.job_id = j.id),
    (SELECT h.started_at FROM rkyc.history h WHERE h.job_id = j.id),
    (SELECT min(w.started_at) FROM rkyc.waiting_task w WHERE w.job_id = j.id)) AS started_at,
  v.graph
FROM rkyc.job j JOIN rkyc.pipeline_version v ON v.name = j.pipeline AND v.version = j.version WHERE j.id = :job_id;
