-- name: carry_analysis
INSERT INTO rkyc.analysis (job_id, corp_id, snapshot_id, lang, as_of)
SELECT :job_id::uuid, corp_id, snapshot_id, lang, as_of FROM rkyc.analysis WHERE job_id = :source_job_id
ON CONFLICT (job_id) DO NOTHING

-- name: carry_documents
INSERT INTO rkyc.analysis_document (job_id, name, document_id, data_class, status, pages, ocr_pages, error_code, message, warnings)
SELECT :job_id::uuid, name, document_id, data_class, status, pages, ocr_pages, error_code, message, warnings
FROM rkyc.analysis_document WHERE job_id = :source_job_id
ON CONFLICT (job_id, name) DO NOTHING

-- name: carry_events
INSERT INTO rkyc.analysis_event (job_id, event_id, cluster_no, copies, source_file)
SELECT :job_id::uuid, event_id, cluster_no, copies, source_file FROM rkyc.analysis_event WHERE job_id = :source_job_id
ON CONFLICT (job_id, event_id) DO NOTHING

-- name: carry_context
INSERT INTO rkyc.context_pack (job_id, sha256, token_count, truncated, parts)
SELECT :job_id::uuid, sha256, token_count, truncated, parts FROM rkyc.context_pack WHERE job_id = :source_job_id
ON CONFLICT (job_id, sha256) DO NOTHING

-- name: carry_signals
WITH signals AS (
  INSERT INTO rkyc.analysis_signal (job_id, risk_signal_id, position, change, below_cut, reported)
  SELECT :job_id::uuid, risk_signal_id, position, change, below_cut, reported
  FROM rkyc.analysis_signal WHERE job_id = :source_job_id
  ON CONFLICT (job_id, risk_signal_id) DO NOTHING
), dropped AS (
  INSERT INTO rkyc.analysis_dropped (job_id, position, title, reason, detail)
  SELECT :job_id::uuid, position, title, reason, detail FROM rkyc.analysis_dropped WHERE job_id = :source_job_id
  ON CONFLICT (job_id, position) DO NOTHING
)
UPDATE rkyc.analysis SET indexed_at = coalesce(indexed_at, clock_timestamp()) WHERE job_id = :job_id
