-- name: add_case
INSERT INTO rkyc.case_memory (risk_signal_id, corp_id, industry_code, event_type, summary, outcome, reason, decided_at)
SELECT risk_signal.id, risk_signal.corp_id, corp.industry_code, risk_signal.event_type, risk_signal.summary,
       risk_signal.status, risk_signal.dismissed_reason, :decided_at
FROM rkyc.risk_signal
JOIN rkyc.corp ON corp.id = risk_signal.corp_id
WHERE risk_signal.id = :risk_signal_id AND risk_signal.status IN ('CONFIRMED', 'DISMISSED')
ON CONFLICT (risk_signal_id) DO UPDATE SET outcome = excluded.outcome, reason = excluded.reason
RETURNING id

-- name: list_cases
-- The company's own cases first, then those of its industry.
SELECT case_memory.id, case_memory.corp_id, case_memory.industry_code, case_memory.event_type,
       case_memory.summary, case_memory.outcome, case_memory.reason, case_memory.decided_at, embedding.vector
FROM rkyc.case_memory
LEFT JOIN rkyc.embedding ON embedding.owner_type = 'case' AND embedding.owner_id = case_memory.id
                        AND embedding.model = :model
WHERE case_memory.corp_id = :corp_id OR case_memory.industry_code = :industry_code
ORDER BY (case_memory.corp_id IS NOT DISTINCT FROM :corp_id) DESC, case_memory.decided_at DESC
LIMIT :limit
