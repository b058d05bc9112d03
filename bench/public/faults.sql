-- name: take_xid
SELECT txid_current();

-- name: count_hot_rows
SELECT count(*) FROM rkyc.ready;

-- name: kill_busy_backends
SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = :database AND pid <> pg_backend_pid() AND state IN ('active', 'idle in transaction');
