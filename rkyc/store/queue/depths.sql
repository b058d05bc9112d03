-- name: ping
SELECT 1;

-- name: list_queues
SELECT q.lane, q.pipeline, q.ready, q.running, q.scheduled, q.waiting, q.oldest_seconds FROM rkyc.queue_depth q
ORDER BY q.lane, q.pipeline;

-- name: list_dead_queues
SELECT d.queue, d.dead, d.archived, d.oldest_at, d.archive_queue FROM rkyc.dlq_depth d ORDER BY d.queue;

-- name: measure_lanes
-- What could run now, lane by lane: `ready` alone, so that scheduled millions cost a scrape nothing.
SELECT l.name AS lane, coalesce(r.ready, 0) AS ready,
  coalesce(extract(epoch FROM clock_timestamp() - (
    SELECT j.created_at FROM rkyc.ready o JOIN rkyc.job j ON j.id = o.job_id WHERE o.lane = l.name ORDER BY o.seq LIMIT 1)), 0)::float8
    AS oldest_seconds
FROM rkyc.lane l LEFT JOIN (SELECT lane, count(*)::int AS ready FROM rkyc.ready GROUP BY lane) r ON r.lane = l.name
ORDER BY l.rank, l.name;
