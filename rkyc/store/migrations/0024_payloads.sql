-- Payloads in blobs: which jobs hold which, and what the collector may take. Locks `blob` and `blob_chunk` for a moment
-- to add columns, and `blob` against writers while a small index is built.

-- Of a payload the collector is in charge; what a person uploaded stays.
ALTER TABLE rkyc.blob ADD COLUMN is_payload boolean NOT NULL DEFAULT false;
CREATE INDEX blob_payload ON rkyc.blob (touched_at) WHERE is_payload;
-- Written by a chunk's own short transaction.
ALTER TABLE rkyc.blob_chunk ADD COLUMN written_at timestamptz NOT NULL DEFAULT now();

CREATE TABLE rkyc.blob_ref (
  job_id bigint NOT NULL,
  sha256 text NOT NULL,
  PRIMARY KEY (job_id, sha256)
);
CREATE INDEX blob_ref_blob ON rkyc.blob_ref (sha256);

-- The data keys of tenants, wrapped by the master key of that fingerprint. A deleted row makes all that it sealed unreadable.
CREATE TABLE rkyc.tenant_key (
  id uuid PRIMARY KEY,
  tenant text NOT NULL UNIQUE CHECK (length(tenant) <= 200),
  wrapped bytea NOT NULL,
  master text NOT NULL,
  created_at timestamptz NOT NULL
);
