-- name: read_dead_tuples
-- What the statistics say; they lag behind by up to a second.
SELECT schemaname || '.' || relname AS subject, n_dead_tup::float8 AS tuples
FROM pg_stat_user_tables WHERE schemaname || '.' || relname = ANY (:tables::text[]);

-- name: count_dead_tuples
-- Counted in the tables themselves: each is read once from end to end.
SELECT t.subject, s.dead_tuple_count::float8 AS tuples
FROM unnest(:tables::text[]) AS t(subject) CROSS JOIN LATERAL pgstattuple(t.subject::regclass) s;

-- name: count_open_tasks
SELECT ((SELECT count(*) FROM rkyc.waiting_task) + (SELECT count(*) FROM rkyc.running_task))::int AS tasks;
