-- name: broadcast
SELECT rkyc.broadcast(:topic, :kind, :payload::jsonb);

-- name: find_topic_start
-- Where a new process begins: before the newest full refresh of the topic, else before all that is kept.
SELECT coalesce((
  SELECT b.id - 1 FROM rkyc.broadcast b WHERE b.topic = :topic AND b.kind = 'full_refresh' ORDER BY b.id DESC LIMIT 1
), 0);

-- name: read_broadcasts
-- One row at least: the snapshot's xmin is needed even where nothing came.
-- `bound`: an xid drawn after the snapshot, so that whoever drew a lower number has a lower xid; none is used up for
-- what was seen before.
SELECT pg_snapshot_xmin(s.s)::text::bigint AS xmin,
  CASE WHEN b.id > :noted THEN pg_current_xact_id()::text::bigint + 1 END AS bound, b.id, b.kind, b.payload, b.at
FROM pg_current_snapshot() s(s)
LEFT JOIN LATERAL (
  SELECT b.id, b.kind, b.payload, b.at FROM rkyc.broadcast b WHERE b.topic = :topic AND b.id > :after ORDER BY b.id LIMIT :limit
) b ON true
ORDER BY b.id;

-- name: drop_broadcasts
-- Old ones, but never what a new process begins with and what came after it. Who comes at the same time takes others.
DELETE FROM rkyc.broadcast WHERE id = ANY (ARRAY(
  SELECT b.id FROM rkyc.broadcast b
  WHERE b.at < :before AND b.id < coalesce((
    SELECT f.id FROM rkyc.broadcast f WHERE f.topic = b.topic AND f.kind = 'full_refresh' ORDER BY f.id DESC LIMIT 1
  ), b.id + 1)
  ORDER BY b.id LIMIT :limit FOR UPDATE SKIP LOCKED))
RETURNING id;
