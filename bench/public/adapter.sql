-- name: count_tasks
-- Through the views that anybody may read: what tasks wait for, and how many run.
SELECT wait_reason AS state, count(*)::int AS tasks FROM rkyc.waiting_task GROUP BY wait_reason
UNION ALL SELECT 'running', count(*)::int FROM rkyc.running_task;
