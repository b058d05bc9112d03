-- name: find_document
SELECT id, pages, ocr_pages, doc_type, media_type, lang, warnings
FROM rkyc.document
WHERE corp_id = :corp_id AND sha256 = :sha256 AND parser = :parser AND ingest_status = 'DONE'

-- name: find_read_document
-- A parser is named kind/version: the same bytes always go to the same kind.
SELECT id, pages, ocr_pages, doc_type, media_type, lang, warnings
FROM rkyc.document
WHERE corp_id = :corp_id AND sha256 = :sha256 AND split_part(parser, '/', 2) = :version
  AND ingest_status = 'DONE'

-- name: add_document
-- A second run with the same bytes keeps the first one's row.
INSERT INTO rkyc.document (corp_id, sha256, parser, filename, doc_type, media_type, size_bytes, pages, ocr_pages,
                           ingest_status, lang, warnings)
VALUES (:corp_id, :sha256, :parser, :filename, :doc_type, :media_type, :size_bytes, :pages, :ocr_pages,
        'DONE', :lang, :warnings::jsonb)
ON CONFLICT (corp_id, sha256, parser) DO UPDATE SET ingest_status = 'DONE'
RETURNING id

-- name: add_page
INSERT INTO rkyc.document_page (document_id, page_no, text, char_start, ocr_confidence)
VALUES (:document_id, :page_no, :text, :char_start, :ocr_confidence)
ON CONFLICT (document_id, page_no) DO NOTHING

-- name: add_analysis_document
INSERT INTO rkyc.analysis_document (job_id, name, document_id, data_class, status, pages, ocr_pages, error_code,
                                    message, warnings)
VALUES (:job_id, :name, :document_id, :data_class, :status, :pages, :ocr_pages, :error_code, :message,
        :warnings::jsonb)
ON CONFLICT (job_id, name) DO NOTHING

-- name: list_documents
SELECT name, document_id, data_class, status, pages, ocr_pages, error_code, message, warnings
FROM rkyc.analysis_document
WHERE job_id = :job_id
ORDER BY name

-- name: read_pages
SELECT analysis_document.name, document_page.document_id, document_page.page_no, document_page.text,
       document_page.char_start, document_page.ocr_confidence, analysis_document.data_class
FROM rkyc.analysis_document
JOIN rkyc.document_page ON document_page.document_id = analysis_document.document_id
WHERE analysis_document.job_id = :job_id
ORDER BY analysis_document.name, document_page.page_no
