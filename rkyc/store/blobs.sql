-- name: touch_blob
UPDATE rkyc.blob SET touched_at = clock_timestamp() WHERE sha256 = :sha256 RETURNING size;

-- name: find_blobs
SELECT sha256, size, media_type FROM rkyc.blob WHERE sha256 = ANY (:sha256s::text[]);

-- name: write_chunk
INSERT INTO rkyc.blob_chunk (sha256, number, data) VALUES (:sha256, :number, :data) ON CONFLICT DO NOTHING;

-- name: write_blob_row
-- Last: a blob is there when its row is, and then all its chunks are.
INSERT INTO rkyc.blob (sha256, size, media_type, chunks) VALUES (:sha256, :size, :media_type, :chunks)
ON CONFLICT (sha256) DO UPDATE SET touched_at = clock_timestamp();

-- name: read_chunks
SELECT c.data FROM rkyc.blob b JOIN rkyc.blob_chunk c ON c.sha256 = b.sha256 WHERE b.sha256 = :sha256 ORDER BY c.number;

-- name: find_blob
SELECT size, media_type, chunks FROM rkyc.blob WHERE sha256 = :sha256;

-- name: read_chunk
SELECT data FROM rkyc.blob_chunk WHERE sha256 = :sha256 AND number = :number;
