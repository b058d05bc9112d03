-- name: touch_blob
-- Uploaded by a person: from now on no payload that the collector may take.
UPDATE rkyc.blob SET touched_at = clock_timestamp(), is_payload = false WHERE sha256 = :sha256 RETURNING size;

-- name: find_blobs
SELECT sha256, size, media_type FROM rkyc.blob WHERE sha256 = ANY (:sha256s::text[]);

-- name: write_chunk
-- One that was left behind by a writer that died counts as written now.
INSERT INTO rkyc.blob_chunk (sha256, number, data) VALUES (:sha256, :number, :data)
ON CONFLICT (sha256, number) DO UPDATE SET written_at = now();

-- name: write_blob_row
-- Last: a blob is there when its row is, and then all its chunks are.
INSERT INTO rkyc.blob (sha256, size, media_type, chunks, is_payload) VALUES (:sha256, :size, :media_type, :chunks, :is_payload)
ON CONFLICT (sha256) DO UPDATE SET touched_at = clock_timestamp(), is_payload = rkyc.blob.is_payload AND excluded.is_payload;

-- name: touch_payload
UPDATE rkyc.blob SET touched_at = clock_timestamp() WHERE sha256 = :sha256 RETURNING size;

-- name: hold_for_job
-- In the transaction that names the blob. It locks the blob's row: the collector passes it over, or is waited for.
WITH held AS (UPDATE rkyc.blob SET touched_at = clock_timestamp() WHERE sha256 = :sha256 RETURNING sha256)
INSERT INTO rkyc.blob_ref (job_id, sha256) SELECT :job_id, sha256 FROM held
ON CONFLICT (job_id, sha256) DO UPDATE SET sha256 = excluded.sha256 RETURNING sha256;

-- name: find_job_number
SELECT id FROM rkyc.job WHERE uuid = :uuid;

-- name: drop_dead_refs
DELETE FROM rkyc.blob_ref WHERE ctid = ANY (ARRAY(
  SELECT r.ctid FROM rkyc.blob_ref r
  WHERE NOT EXISTS (SELECT FROM rkyc.job j WHERE j.id = r.job_id) LIMIT 1000));

-- name: collect_payloads
-- What nobody names and nobody has touched for a while: whoever is about to name it touches it first.
WITH dead AS MATERIALIZED (
  SELECT b.sha256 FROM rkyc.blob b
  WHERE b.is_payload AND b.touched_at < clock_timestamp() - make_interval(secs => :age_s)
    AND NOT EXISTS (SELECT FROM rkyc.blob_ref r WHERE r.sha256 = b.sha256)
  ORDER BY b.touched_at LIMIT 100 FOR UPDATE SKIP LOCKED
), gone AS (
  DELETE FROM rkyc.blob b USING dead d WHERE b.sha256 = d.sha256 RETURNING b.sha256
), chunks AS (
  DELETE FROM rkyc.blob_chunk c USING gone g WHERE c.sha256 = g.sha256
)
SELECT count(*)::int FROM gone;

-- name: collect_chunks
-- Chunks whose writer died before the blob's row. By ctid: one that is written again meanwhile has moved.
DELETE FROM rkyc.blob_chunk WHERE ctid = ANY (ARRAY(
  SELECT c.ctid FROM rkyc.blob_chunk c
  WHERE c.written_at < clock_timestamp() - make_interval(secs => :age_s)
    AND NOT EXISTS (SELECT FROM rkyc.blob b WHERE b.sha256 = c.sha256) LIMIT 1000));

-- name: read_chunks
SELECT c.data FROM rkyc.blob b JOIN rkyc.blob_chunk c ON c.sha256 = b.sha256 WHERE b.sha256 = :sha256 ORDER BY c.number;

-- name: find_blob
SELECT size, media_type, chunks FROM rkyc.blob WHERE sha256 = :sha256;

-- name: read_chunk
SELECT data FROM rkyc.blob_chunk WHERE sha256 = :sha256 AND number = :number;
