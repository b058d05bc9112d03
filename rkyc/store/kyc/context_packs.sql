-- name: add_context_pack
INSERT INTO rkyc.context_pack (job_id, sha256, token_count, truncated, parts)
VALUES (:job_id, :sha256, :token_count, :truncated, :parts::jsonb)
ON CONFLICT (job_id, sha256) DO NOTHING

-- name: read_context_pack
SELECT sha256, token_count, truncated, parts
FROM rkyc.context_pack
WHERE job_id = :job_id AND sha256 = :sha256
