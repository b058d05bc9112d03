-- name: reserve_id
SELECT nextval(pg_get_serial_sequence('rkyc.insight', 'id'))

-- name: add_insight
INSERT INTO rkyc.insight (id, job_id, corp_id, stance, headline, sections, cited_signal_ids, quality_score, coverage,
                          provider, published, needs_review)
VALUES (:id, :job_id, :corp_id, :stance, :headline, :sections::jsonb, :cited_signal_ids, :quality_score, :coverage,
        :provider, :published, :needs_review)
ON CONFLICT (job_id) DO NOTHING

-- name: read_insight
SELECT id, stance, headline, sections, cited_signal_ids, quality_score, coverage, provider, published, needs_review
FROM rkyc.insight
WHERE job_id = :job_id
