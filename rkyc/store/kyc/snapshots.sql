-- name: read_latest
SELECT id, version, doc, sha256, source, job_id, taken_at
FROM rkyc.snapshot
WHERE corp_id = :corp_id
ORDER BY version DESC
LIMIT 1

-- name: read_version
SELECT id, version, doc, sha256, source, job_id, taken_at
FROM rkyc.snapshot
WHERE corp_id = :corp_id AND version = :version

-- name: reserve_id
SELECT nextval(pg_get_serial_sequence('rkyc.snapshot', 'id'))

-- name: add_snapshot
INSERT INTO rkyc.snapshot (id, corp_id, version, doc, sha256, source, job_id, taken_at)
VALUES (:id, :corp_id, :version, :doc::jsonb, :sha256, :source, :job_id, :taken_at)

-- name: add_statements
INSERT INTO rkyc.statement (snapshot_id, fiscal_year, period, concept, value, currency, source_ref)
VALUES (:snapshot_id, :fiscal_year, :period, :concept, :value, :currency, :source_ref)
ON CONFLICT DO NOTHING

-- name: read_statements
SELECT fiscal_year, period, concept, value, currency, source_ref
FROM rkyc.statement
WHERE snapshot_id = :snapshot_id
ORDER BY fiscal_year, period, concept

-- name: add_analysis
INSERT INTO rkyc.analysis (job_id, corp_id, snapshot_id, lang, as_of)
VALUES (:job_id, :corp_id, :snapshot_id, :lang, :as_of)
ON CONFLICT (job_id) DO UPDATE SET snapshot_id = excluded.snapshot_id

-- name: read_analysis
SELECT analysis.job_id, analysis.corp_id, analysis.lang, analysis.as_of, analysis.created_at,
       analysis.snapshot_id, snapshot.version AS snapshot_version, corp.name AS corp_name
FROM rkyc.analysis
JOIN rkyc.corp ON corp.id = analysis.corp_id
JOIN rkyc.snapshot ON snapshot.id = analysis.snapshot_id
WHERE analysis.job_id = :job_id
