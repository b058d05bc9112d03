-- name: list_known
-- What validation and the marks of change compare with; the worst source grade sorts last.
SELECT risk_signal.id, risk_signal.signature, risk_signal.content_sha256, risk_signal.signal_type,
       risk_signal.event_type, risk_signal.category, risk_signal.direction, risk_signal.title, risk_signal.summary,
       risk_signal.severity, risk_signal.rule_id, risk_signal.period, risk_signal.status,
       risk_signal.dismissed_reason, risk_signal.first_seen_job, risk_signal.last_seen_job, risk_signal.created_at,
       risk_signal.updated_at, found.refs, found.best_grade
FROM rkyc.risk_signal
CROSS JOIN LATERAL (
    SELECT array_agg(evidence.ref ORDER BY evidence.position) AS refs, min(evidence.source_grade) AS best_grade
    FROM rkyc.evidence
    WHERE evidence.risk_signal_id = risk_signal.id
) AS found
WHERE risk_signal.corp_id = :corp_id
ORDER BY risk_signal.id DESC
LIMIT :limit

-- name: list_last_reported
-- What the last earlier run of the company reported above the cut.
SELECT analysis_signal.risk_signal_id, risk_signal.signature, risk_signal.status, analysis_signal.reported
FROM rkyc.analysis_signal
JOIN rkyc.risk_signal ON risk_signal.id = analysis_signal.risk_signal_id
WHERE analysis_signal.job_id = (
          SELECT analysis.job_id
          FROM rkyc.analysis
          WHERE analysis.corp_id = :corp_id AND analysis.job_id <> :job_id AND analysis.indexed_at IS NOT NULL
          ORDER BY analysis.indexed_at DESC
          LIMIT 1)
  AND analysis_signal.change <> 'GONE'
ORDER BY analysis_signal.position

-- name: reserve_ids
SELECT nextval(pg_get_serial_sequence('rkyc.risk_signal', 'id')) AS id
FROM generate_series(1, :count::integer)

-- name: upsert_risk_signal
-- What was decided about a risk signal stays; what a run says of it is brought up to date.
INSERT INTO rkyc.risk_signal (id, corp_id, signature, content_sha256, signal_type, event_type, category, title, summary,
                              direction, strength, confidence, severity, probability, rule_id, period, source,
                              prompt_id, derived, snapshot_version, needs_review, review_reasons, first_seen_job,
                              last_seen_job)
VALUES (:id, :corp_id, :signature, :content_sha256, :signal_type, :event_type, :category, :title, :summary,
        :direction, :strength, :confidence, :severity, :probability, :rule_id, :period, :source,
        :prompt_id, :derived::jsonb, :snapshot_version, :needs_review, :review_reasons::jsonb, :job_id,
        :job_id)
ON CONFLICT (corp_id, signature) DO UPDATE
SET content_sha256 = excluded.content_sha256,
    title = excluded.title,
    summary = excluded.summary,
    direction = excluded.direction,
    category = excluded.category,
    strength = excluded.strength,
    confidence = excluded.confidence,
    severity = excluded.severity,
    probability = excluded.probability,
    derived = excluded.derived,
    snapshot_version = excluded.snapshot_version,
    needs_review = excluded.needs_review,
    review_reasons = excluded.review_reasons,
    last_seen_job = excluded.last_seen_job,
    updated_at = now()
RETURNING id

-- name: delete_evidence
DELETE FROM rkyc.evidence WHERE risk_signal_id = :risk_signal_id

-- name: add_evidence
INSERT INTO rkyc.evidence (risk_signal_id, position, evidence_type, ref_type, ref, quote, char_start, char_end, verified,
                           similarity, source_grade, published_at, source_file)
VALUES (:risk_signal_id, :position, :evidence_type, :ref_type, :ref, :quote, :char_start, :char_end, :verified,
        :similarity, :source_grade, :published_at, :source_file)

-- name: delete_report
DELETE FROM rkyc.analysis_signal WHERE job_id = :job_id

-- name: delete_dropped
DELETE FROM rkyc.analysis_dropped WHERE job_id = :job_id

-- name: add_reported
INSERT INTO rkyc.analysis_signal (job_id, risk_signal_id, position, change, below_cut, reported)
VALUES (:job_id, :risk_signal_id, :position, :change, :below_cut, :reported::jsonb)

-- name: add_dropped
INSERT INTO rkyc.analysis_dropped (job_id, position, title, reason, detail)
VALUES (:job_id, :position, :title, :reason, :detail)

-- name: mark_indexed
UPDATE rkyc.analysis SET indexed_at = coalesce(indexed_at, clock_timestamp()) WHERE job_id = :job_id

-- name: move_risk_signal
-- NEW -> REVIEWED | DISMISSED; REVIEWED -> CONFIRMED | DISMISSED
WITH before AS (
    -- Locked, so that two analysts can't both move it.
    SELECT id, status FROM rkyc.risk_signal WHERE id = :risk_signal_id FOR NO KEY UPDATE
), moved AS (
    UPDATE rkyc.risk_signal
    SET status = :to_status, dismissed_reason = :reason_code, updated_at = now()
    FROM before
    WHERE risk_signal.id = before.id
      AND (before.status, :to_status) IN (('NEW', 'REVIEWED'), ('NEW', 'DISMISSED'), ('REVIEWED', 'CONFIRMED'),
                                          ('REVIEWED', 'DISMISSED'))
    RETURNING risk_signal.id, before.status AS from_status
)
INSERT INTO rkyc.signal_action (risk_signal_id, actor, from_status, to_status, reason_code, comment)
SELECT id, :actor, from_status, :to_status, :reason_code, :comment
FROM moved
RETURNING from_status

-- name: read_status
SELECT status FROM rkyc.risk_signal WHERE id = :risk_signal_id
