-- name: reserve_units
-- Lets a start or a call in, now or later, by all its buckets at once: the latest of them says when. `costs` and
-- `bursts` are seconds of the bucket's rate. Rows are locked in one order.
WITH at AS MATERIALIZED (SELECT coalesce(:now::timestamptz, clock_timestamp()) AS now),
asked AS MATERIALIZED (
  SELECT a.scope, a.cost, a.burst FROM unnest(:scopes::text[], :costs::float8[], :bursts::float8[]) AS a(scope, cost, burst)
), reserved AS (
  INSERT INTO rkyc.limit_bucket AS b (scope, full_at)
  SELECT a.scope, at.now + make_interval(secs => a.cost) FROM asked a CROSS JOIN at ORDER BY a.scope
  ON CONFLICT (scope) DO UPDATE SET full_at = greatest(b.full_at, (SELECT now FROM at)) + (excluded.full_at - (SELECT now FROM at))
  RETURNING b.scope, b.full_at
)
SELECT at.now, greatest(at.now, max(r.full_at - make_interval(secs => greatest(a.cost, a.burst)))) AS start_at
FROM at CROSS JOIN asked a JOIN reserved r ON r.scope = a.scope GROUP BY at.now;

-- name: make_buckets
INSERT INTO rkyc.limit_bucket (scope, full_at) SELECT a.scope, clock_timestamp() - interval '1 s' FROM unnest(:scopes::text[]) AS a(scope)
ORDER BY a.scope ON CONFLICT DO NOTHING;

-- name: take_units
-- Lets a call in now, by all its buckets, or not at all. Its estimate is charged when it begins: were it charged ahead, what is
-- given back of it later would be saved up.
WITH at AS MATERIALIZED (SELECT coalesce(:now::timestamptz, clock_timestamp()) AS now),
locked AS MATERIALIZED (
  SELECT b.scope, greatest(b.full_at, (SELECT now FROM at)) AS full_at, a.cost, a.burst
  FROM (
    SELECT * FROM unnest(:scopes::text[], :costs::float8[], :bursts::float8[]) AS a(scope, cost, burst) ORDER BY a.scope
  ) a CROSS JOIN LATERAL (SELECT b.scope, b.full_at FROM rkyc.limit_bucket b WHERE b.scope = a.scope FOR UPDATE) b
), verdict AS MATERIALIZED (
  SELECT count(*) = cardinality(:scopes::text[]) AS is_known,
    coalesce(greatest(0, max(extract(epoch FROM l.full_at - (SELECT now FROM at))::float8 - l.burst)), 0) AS wait_s
  FROM locked l
), taken AS (
  UPDATE rkyc.limit_bucket b SET full_at = l.full_at + make_interval(secs => l.cost)
  FROM locked l CROSS JOIN verdict v WHERE b.scope = l.scope AND v.is_known AND v.wait_s <= 0
)
SELECT v.is_known, v.wait_s FROM verdict v;

-- name: settle_units
-- What it really took: `costs` is the difference, in seconds of the bucket's rate.
WITH asked AS MATERIALIZED (
  SELECT b.scope, a.cost
  FROM (SELECT * FROM unnest(:scopes::text[], :costs::float8[]) AS a(scope, cost) ORDER BY a.scope) a
  CROSS JOIN LATERAL (SELECT b.scope FROM rkyc.limit_bucket b WHERE b.scope = a.scope FOR UPDATE) b
)
UPDATE rkyc.limit_bucket b SET full_at = b.full_at + make_interval(secs => a.cost) FROM asked a WHERE b.scope = a.scope;

-- name: keep_grant
INSERT INTO rkyc.limit_grant (job_id, branch, purpose, start_at) VALUES (:job_id, :branch, :purpose, :start_at)
ON CONFLICT (job_id, branch, purpose) DO UPDATE SET start_at = excluded.start_at;

-- name: use_grant
-- One whose time has come is used up; one that is long over as well, and is worth nothing.
WITH at AS MATERIALIZED (SELECT coalesce(:now::timestamptz, clock_timestamp()) AS now),
used AS (
  DELETE FROM rkyc.limit_grant g WHERE g.job_id = :job_id AND g.branch = :branch AND g.purpose = :purpose
    AND g.start_at <= (SELECT now FROM at)
)
SELECT g.start_at, at.now, g.start_at < at.now - make_interval(secs => :slack_s::float8) AS is_over
FROM at JOIN rkyc.limit_grant g ON g.job_id = :job_id AND g.branch = :branch AND g.purpose = :purpose;

-- name: prune_grants
-- Of jobs that were cancelled meanwhile.
DELETE FROM rkyc.limit_grant WHERE start_at < clock_timestamp() - interval '1 hour';

-- name: prune_buckets
-- A bucket that has drained is as good as none.
DELETE FROM rkyc.limit_bucket WHERE full_at < clock_timestamp() - interval '1 hour';
