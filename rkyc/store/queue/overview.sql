-- name: list_workers
SELECT w.worker, w.host, w.pid, w.version, w.lanes, w.slots, w.busy, w.started_at, w.beat_at, w.alive
FROM rkyc.worker_status w WHERE :all OR w.alive ORDER BY w.alive DESC, w.started_at DESC LIMIT :limit;

-- name: list_limits
-- Everything that holds starts or calls back, by kind and name: places (`used` of `size`), rates and breakers that are
-- shut for a while (`until`). Waiting tasks are counted up to 1,000.
SELECT f.kind, f.name, f.used, f.size, f.until,
  (SELECT count(*)::int FROM (SELECT FROM rkyc.waiting w WHERE w.kind = 'limit' AND w.wake_key = f.wake_key LIMIT 1000) w) AS waiting
FROM (
  SELECT 'places' AS kind, coalesce(s.scope, l.name) AS name, count(s.job_id)::int AS used, l.size, NULL::timestamptz AS until,
    coalesce(s.scope, l.name) AS wake_key
  FROM rkyc.limit_rule l LEFT JOIN rkyc.limit_slot s ON s.name = l.name GROUP BY l.name, s.scope, l.size
  UNION ALL
  SELECT 'rate', b.scope, NULL, NULL, b.full_at, 'rate/' || b.scope FROM rkyc.limit_bucket b
  WHERE b.full_at > clock_timestamp() AND NOT starts_with(b.scope, 'line/')
  UNION ALL
  SELECT 'breaker', b.name, b.failures, NULL, b.open_until, NULL FROM rkyc.breaker b
) f ORDER BY f.kind, f.name LIMIT 1000;

-- name: find_suspects
SELECT EXISTS (SELECT FROM rkyc.waiting w WHERE w.kind = 'suspect' AND w.wake_key = ANY (:wake_keys::text[])
  AND w.lane = ANY (:lanes::text[]));
