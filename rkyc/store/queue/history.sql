-- name: list_executions
-- Newest first. `from_id` is a lower bound of the ids made since then: it lets the index do the search.
SELECT c.chain_id, c.chain_name, c.status, c.total_tasks, c.completed_tasks, c.failed_tasks, j.created_at, c.started_at, c.finished_at,
  c.initiated_by, c.error_message
FROM rkyc.chain_executions c JOIN rkyc.job j ON j.uuid = c.chain_id JOIN rkyc.job_status s ON s.job_id = c.chain_id
WHERE c.chain_id >= :from_id AND j.created_at >= :since
  AND (:status::text IS NULL OR c.status = upper(:status) OR s.status = lower(:status))
  AND (:task_name::text IS NULL OR EXISTS (
    SELECT FROM rkyc.pipeline_version v, jsonb_array_elements(v.graph -> 'steps') g
    WHERE v.name = j.pipeline AND v.version = j.version AND :task_name IN (g ->> 'name', g ->> 'task')))
ORDER BY c.chain_id DESC LIMIT :limit;

-- name: list_tasks
-- The tasks of one execution, in the graph's order.
SELECT t.task_id, t.task_name, t.status, t.error, t.started_at, t.finished_at, t.retries
FROM rkyc.step_status s JOIN rkyc.task_logs t ON t.chain_execution = s.job_id AND t.task_name = s.step
WHERE s.job_id = :uuid ORDER BY s.index;
