-- name: register_pipeline
INSERT INTO rkyc.pipeline_version (name, version, graph, first_step, first_lane) VALUES (:name, :version, :graph::jsonb, :first_step, :first_lane)
ON CONFLICT (name, version) DO UPDATE SET graph = excluded.graph, first_step = excluded.first_step, first_lane = excluded.first_lane
WHERE rkyc.pipeline_version.graph <> excluded.graph OR rkyc.pipeline_version.first_lane IS DISTINCT FROM excluded.first_lane;

-- name: register_lanes
INSERT INTO rkyc.lane (name, rank) SELECT l, 3 FROM unnest(:lanes::text[]) l ON CONFLICT DO NOTHING;

-- name: list_pipelines
SELECT name, max(version) AS version FROM rkyc.pipeline_version GROUP BY name ORDER BY name;

-- name: read_graph
SELECT graph, version FROM rkyc.pipeline_version WHERE name = :name ORDER BY version DESC LIMIT 1;
