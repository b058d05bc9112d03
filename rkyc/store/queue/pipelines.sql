-- name: register_pipeline
INSERT INTO rkyc.pipeline_version (name, version, graph, first_step, first_lane) VALUES (:name, :version, :graph::jsonb, :first_step, :first_lane)
ON CONFLICT (name, version) DO UPDATE SET graph = excluded.graph, first_step = excluded.first_step, first_lane = excluded.first_lane
WHERE rkyc.pipeline_version.graph <> excluded.graph OR rkyc.pipeline_version.first_lane IS DISTINCT FROM excluded.first_lane;

-- name: register_lanes
INSERT INTO rkyc.lane (name, rank) SELECT l, 3 FROM unnest(:lanes::text[]) l ON CONFLICT DO NOTHING;

-- name: register_policies
-- What code declares is written anew at each start, where it changed; a run of the dead letters keeps its times.
UPDATE rkyc.lane l SET ttl_s = p.ttl_s, redrive_every_s = p.every_s, redrive_at_most = p.at_most, redrive_times = p.times,
  dead_kept_days = p.kept_days,
  redrive_at = CASE WHEN p.every_s IS NULL THEN NULL
                    WHEN l.redrive_every_s = p.every_s AND l.redrive_at IS NOT NULL THEN l.redrive_at
                    ELSE coalesce(:now::timestamptz, clock_timestamp()) + make_interval(secs => p.every_s) END
FROM unnest(:lanes::text[], :ttls::float8[], :everys::float8[], :at_mosts::int[], :times::int[], :kept_days::float8[])
  AS p(lane, ttl_s, every_s, at_most, times, kept_days)
WHERE l.name = p.lane AND (l.ttl_s, l.redrive_every_s, l.redrive_at_most, l.redrive_times, l.dead_kept_days, l.redrive_at IS NULL)
  IS DISTINCT FROM (p.ttl_s, p.every_s, p.at_most, p.times, p.kept_days, p.every_s IS NULL);

-- name: list_pipelines
SELECT name, max(version) AS version FROM rkyc.pipeline_version GROUP BY name ORDER BY name;

-- name: read_graph
SELECT graph, version FROM rkyc.pipeline_version WHERE name = :name ORDER BY version DESC LIMIT 1;
