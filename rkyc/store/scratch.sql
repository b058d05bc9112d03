-- name: lock_templates
-- Held until the connection closes: the processes of one test run make the template once.
SELECT pg_advisory_lock(:key);

-- name: has_database
SELECT EXISTS (SELECT FROM pg_database WHERE datname = :name);
