-- name: write_chunks
-- The lease is checked as for a checkpoint: what a worker emits that lost it must not mix with another attempt's.
WITH given AS MATERIALIZED (
  SELECT d.* FROM unnest(:job_ids::bigint[], :branches::int[], :fences::bigint[], :steps::text[], :attempts::int[], :numbers::int[],
                         :texts::text[]) WITH ORDINALITY
    AS d(job_id, branch, fence, step, attempt, number, text, place)
  CROSS JOIN LATERAL (
    SELECT 1 FROM rkyc.running r WHERE r.job_id = d.job_id AND r.branch = d.branch AND r.fence = d.fence FOR SHARE
  ) held
), counted AS (
  -- Locks the jobs' rows, in their order: two processes that write to the same jobs can't block each other.
  INSERT INTO rkyc.stream AS s (job_id, first_seq, last_seq)
  SELECT g.job_id, b.at + 1, b.at + count(*)
  FROM given g CROSS JOIN (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS at) b
  GROUP BY g.job_id, b.at ORDER BY g.job_id
  ON CONFLICT (job_id) DO UPDATE SET last_seq = s.last_seq + excluded.last_seq - excluded.first_seq + 1
  RETURNING s.job_id, s.last_seq
), written AS (
  INSERT INTO rkyc.stream_chunk (job_id, seq, branch, fence, step, attempt, number, is_again, text)
  SELECT g.job_id, c.last_seq + 1 - row_number() OVER (PARTITION BY g.job_id ORDER BY g.place DESC), g.branch, g.fence, g.step,
    g.attempt, g.number,
    -- Not EXISTS: that may be planned as a hash of the whole table.
    g.number = 0 AND coalesce(
      (SELECT true FROM rkyc.stream_chunk o WHERE o.job_id = g.job_id AND o.branch = g.branch AND o.step = g.step LIMIT 1), false),
    g.text
  FROM given g JOIN counted c ON c.job_id = g.job_id
  RETURNING job_id, branch
)
-- Tokens need not be durable: their commit does not wait for the disk.
SELECT w.job_id, w.branch, (SELECT set_config('synchronous_commit', 'off', true)), (SELECT pg_notify(:channel, :notice)) FROM written w;

-- name: find_chunks
-- After a connection was lost around a commit: which landed? FOR UPDATE: it may still be under way.
WITH locked AS MATERIALIZED (SELECT s.job_id FROM rkyc.stream s WHERE s.job_id = ANY (:job_ids::bigint[]) ORDER BY s.job_id FOR UPDATE)
SELECT d.place FROM unnest(:job_ids::bigint[], :fences::bigint[], :steps::text[], :numbers::int[]) WITH ORDINALITY
  AS d(job_id, fence, step, number, place)
JOIN locked l ON l.job_id = d.job_id
WHERE EXISTS (SELECT FROM rkyc.stream_chunk c
              WHERE c.job_id = d.job_id AND c.fence = d.fence AND c.step = d.step AND c.number = d.number);

-- name: write_marks
-- Beginnings and ends, among the job's events: a chain's by its own count, in a job that forked by its counter's.
WITH given AS MATERIALIZED (
  SELECT d.* FROM unnest(:job_ids::bigint[], :branches::int[], :fences::bigint[], :events::int[], :steps::text[], :attempts::int[],
                         :ends::bool[], :chunks::int[], :chars::bigint[])
    AS d(job_id, branch, fence, events, step, attempt, is_end, chunks, chars)
  CROSS JOIN LATERAL (
    SELECT 1 FROM rkyc.running r WHERE r.job_id = d.job_id AND r.branch = d.branch AND r.fence = d.fence FOR SHARE
  ) held
), fresh AS MATERIALIZED (
  -- The same mark twice: its commit's fate was unknown and it was sent again.
  SELECT g.* FROM given g
  WHERE NOT EXISTS (SELECT FROM rkyc.stream_event e
                    WHERE e.job_id = g.job_id AND e.fence = g.fence AND e.step = g.step AND e.is_end = g.is_end)
), locked AS MATERIALIZED (
  -- After the leases and in the order of their jobs, as everywhere.
  SELECT b.job_id FROM rkyc.branching b WHERE b.job_id = ANY (ARRAY(SELECT f.job_id FROM fresh f)) ORDER BY b.job_id FOR UPDATE
), numbered AS (
  UPDATE rkyc.branching b SET events = b.events + 1 FROM locked l WHERE b.job_id = l.job_id RETURNING b.job_id, b.events
), written AS (
  INSERT INTO rkyc.stream_event (job_id, seq, fence, is_end, branch, step, attempt, chunks, chars, at)
  SELECT f.job_id, coalesce(n.events, f.events), f.fence, f.is_end, f.branch, f.step, f.attempt, f.chunks, f.chars, :now
  FROM fresh f LEFT JOIN numbered n ON n.job_id = f.job_id
)
-- Whatever is committed later and waits for the disk takes this along.
SELECT g.job_id, g.branch, (SELECT set_config('synchronous_commit', 'off', true)) FROM given g;

-- name: read_chunks
-- One row at least per job that is asked for: its state if it has ended, and what came after a place. One
-- snapshot: who sees a job's end sees all that was emitted before it. A place that this table does not know
-- gets all there is.
WITH asked AS MATERIALIZED (
  SELECT w.job_id, w.since,
    (SELECT h.state FROM rkyc.history h WHERE h.job_id = w.job_id) AS state,
    (SELECT s.first_seq FROM rkyc.stream s WHERE s.job_id = w.job_id) AS first_seq,
    (SELECT s.last_seq FROM rkyc.stream s WHERE s.job_id = w.job_id) AS last_seq
  FROM unnest(:job_ids::bigint[], :sinces::bigint[]) AS w(job_id, since)
)
SELECT a.job_id, a.state, a.first_seq, coalesce(a.since > 0 AND a.since NOT BETWEEN a.first_seq AND a.last_seq, false) AS is_lost,
  c.seq, c.step, c.attempt, c.number, c.is_again, c.text
FROM asked a
LEFT JOIN LATERAL (
  SELECT k.seq, k.step, k.attempt, k.number, k.is_again, k.text FROM rkyc.stream_chunk k
  WHERE k.job_id = a.job_id AND k.seq > CASE WHEN a.since BETWEEN a.first_seq AND a.last_seq THEN a.since ELSE 0 END
  ORDER BY k.seq LIMIT :limit
) c ON true
ORDER BY a.job_id, c.seq;

-- name: read_ends
-- What the completed streams of a job were, in their order.
SELECT e.step, e.attempt, e.chunks, e.chars FROM rkyc.stream_event e WHERE e.job_id = :job_id AND e.is_end ORDER BY e.seq, e.fence;

-- name: drop_streams
-- Chunks of jobs that ended a while ago; who comes at the same time takes others.
WITH over AS MATERIALIZED (
  -- OFFSET 0: else a plan may hash all jobs.
  SELECT s.job_id FROM rkyc.stream s
  LEFT JOIN LATERAL (SELECT j.id FROM rkyc.job j WHERE j.id = s.job_id OFFSET 0) j ON true
  WHERE (SELECT h.finished_at FROM rkyc.history h WHERE h.job_id = s.job_id) < :before OR j.id IS NULL
  LIMIT :limit FOR UPDATE OF s SKIP LOCKED
), chunks AS (
  DELETE FROM rkyc.stream_chunk WHERE job_id = ANY (ARRAY(SELECT job_id FROM over))
)
DELETE FROM rkyc.stream WHERE job_id = ANY (ARRAY(SELECT job_id FROM over)) RETURNING job_id;
