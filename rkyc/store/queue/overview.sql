-- name: list_workers
SELECT w.worker, w.host, w.pid, w.version, w.lanes, w.slots, w.busy, w.started_at, w.beat_at, w.alive
FROM rkyc.worker_status w WHERE :all OR w.alive ORDER BY w.alive DESC, w.started_at DESC LIMIT :limit;

-- name: find_suspects
SELECT EXISTS (SELECT FROM rkyc.waiting w WHERE w.kind = 'suspect' AND w.wake_key = ANY (:wake_keys::text[])
  AND w.lane = ANY (:lanes::text[]));
