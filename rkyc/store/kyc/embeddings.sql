-- name: add_embedding
INSERT INTO rkyc.embedding (owner_type, owner_id, model, text_sha256, vector)
VALUES (:owner_type, :owner_id, :model, :text_sha256, :vector)
ON CONFLICT DO NOTHING

-- name: read_embeddings
SELECT owner_id, text_sha256, vector
FROM rkyc.embedding
WHERE owner_type = :owner_type AND model = :model AND owner_id = ANY (:owner_ids::bigint[])
