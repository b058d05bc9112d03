-- name: list_signals
SELECT analysis_signal.risk_signal_id AS id, analysis_signal.change, analysis_signal.below_cut,
       analysis_signal.reported, risk_signal.status
FROM rkyc.analysis_signal
JOIN rkyc.risk_signal ON risk_signal.id = analysis_signal.risk_signal_id
WHERE analysis_signal.job_id = :job_id
ORDER BY analysis_signal.position

-- name: list_dropped
SELECT title, reason, detail
FROM rkyc.analysis_dropped
WHERE job_id = :job_id
ORDER BY position

-- name: list_cited_pages
SELECT analysis_document.name, analysis_document.data_class, document_page.page_no, document_page.text
FROM rkyc.analysis_document
JOIN rkyc.document_page ON document_page.document_id = analysis_document.document_id
WHERE analysis_document.job_id = :job_id
  AND analysis_document.name || ':' || document_page.page_no = ANY (:refs::text[])
ORDER BY analysis_document.name, document_page.page_no

-- name: list_cited_events
SELECT DISTINCT ON (external_event.url) external_event.url, external_event.title, external_event.text,
       external_event.published_at, external_event.source, external_event.source_type, external_event.grade
FROM rkyc.analysis_event
JOIN rkyc.external_event ON external_event.id = analysis_event.event_id
WHERE analysis_event.job_id = :job_id AND external_event.url = ANY (:refs::text[])
ORDER BY external_event.url, external_event.id DESC
