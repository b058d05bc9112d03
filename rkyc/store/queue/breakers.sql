-- name: ask_breaker
-- No row: it may be asked. When the pause is over one caller gets to probe, the others go on waiting.
WITH at AS MATERIALIZED (SELECT coalesce(:now::timestamptz, clock_timestamp()) AS now),
probe AS (
  UPDATE rkyc.breaker b SET probe_until = (SELECT now FROM at) + make_interval(secs => :probe_s::float8)
  WHERE b.name = :name AND b.open_until <= (SELECT now FROM at) AND (b.probe_until IS NULL OR b.probe_until <= (SELECT now FROM at))
  RETURNING b.name
)
SELECT EXISTS (SELECT FROM probe) AS is_probe,
  greatest(0, extract(epoch FROM greatest(b.open_until, b.probe_until) - at.now))::float8 AS wait_s
FROM rkyc.breaker b CROSS JOIN at WHERE b.name = :name AND b.open_until IS NOT NULL;

-- name: note_failure
-- So many in a row, or a probe that fails, open it: for longer each time.
WITH at AS MATERIALIZED (SELECT coalesce(:now::timestamptz, clock_timestamp()) AS now)
INSERT INTO rkyc.breaker AS b (name, failures, failed_at, open_until)
SELECT :name, 1, at.now, CASE WHEN :failures_max::int <= 1 THEN at.now + make_interval(secs => :pause_s::float8) END FROM at
ON CONFLICT (name) DO UPDATE SET
  failures = CASE WHEN b.failed_at < excluded.failed_at - make_interval(secs => :window_s::float8) THEN 1 ELSE b.failures + 1 END,
  failed_at = excluded.failed_at,
  trips = CASE WHEN :is_probe::boolean THEN least(b.trips + 1, 16) ELSE b.trips END,
  probe_until = CASE WHEN :is_probe THEN NULL ELSE b.probe_until END,
  open_until = CASE
    WHEN :is_probe THEN excluded.failed_at + make_interval(secs => least(:pause_s * 2 ^ (b.trips + 1), :pause_s_max::float8))
    WHEN b.open_until IS NULL AND b.failed_at >= excluded.failed_at - make_interval(secs => :window_s) AND b.failures + 1 >= :failures_max
      THEN excluded.failed_at + make_interval(secs => :pause_s)
    ELSE b.open_until END
RETURNING b.open_until IS NOT NULL AS is_open;

-- name: note_success
-- Only a probe's answer closes one that is open: others may have been asked long before.
DELETE FROM rkyc.breaker b WHERE b.name = :name AND (b.open_until IS NULL OR :is_probe::boolean);

-- name: close_breaker
DELETE FROM rkyc.breaker b WHERE b.name = :name RETURNING b.name;
