-- name: add_event
-- The no-op update makes RETURNING answer for a known event too.
INSERT INTO rkyc.external_event (url, url_sha256, text_sha256, event_signature, title, text, published_at, source,
                                 source_type, grade, event_class, lang, fetched_at)
VALUES (:url, :url_sha256, :text_sha256, :event_signature, :title, :text, :published_at, :source,
        :source_type, :grade, :event_class, :lang, :fetched_at)
ON CONFLICT (url_sha256, text_sha256) DO UPDATE SET url = excluded.url
RETURNING id

-- name: add_target
INSERT INTO rkyc.event_target (event_id, corp_id, score, basis, role, reasons)
VALUES (:event_id, :corp_id, :score, :basis, :role, :reasons::jsonb)
ON CONFLICT (event_id, corp_id) DO UPDATE
SET score = excluded.score, basis = excluded.basis, role = excluded.role, reasons = excluded.reasons

-- name: add_analysis_event
INSERT INTO rkyc.analysis_event (job_id, event_id, cluster_no, copies, source_file)
VALUES (:job_id, :event_id, :cluster_no, :copies, :source_file)
ON CONFLICT (job_id, event_id) DO NOTHING

-- name: read_events
SELECT external_event.id, external_event.url, external_event.title, external_event.text,
       external_event.published_at, external_event.source, external_event.source_type, external_event.grade,
       external_event.event_class, external_event.lang, analysis_event.cluster_no, analysis_event.copies,
       analysis_event.source_file,
       event_target.score, event_target.basis, event_target.role, event_target.reasons
FROM rkyc.analysis_event
JOIN rkyc.external_event ON external_event.id = analysis_event.event_id
JOIN rkyc.analysis ON analysis.job_id = analysis_event.job_id
LEFT JOIN rkyc.event_target ON event_target.event_id = external_event.id
                           AND event_target.corp_id = analysis.corp_id
WHERE analysis_event.job_id = :job_id
ORDER BY analysis_event.cluster_no, external_event.grade, external_event.id
