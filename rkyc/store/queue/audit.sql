-- name: write_entry
INSERT INTO rkyc.audit (at, who, action, kind, object, details)
VALUES (clock_timestamp(), :who, :action, :kind, :object, coalesce(:details::jsonb, '{}'));

-- name: list_entries
-- Newest first; `before` is the last id of the page before.
SELECT a.id, a.at, a.who, a.action, a.kind, a.object, a.details FROM rkyc.audit a
WHERE (:object::text IS NULL OR a.object = :object) AND (:who::text IS NULL OR a.who = :who)
  AND (:action::text IS NULL OR a.action = :action) AND (:before::bigint IS NULL OR a.id < :before)
ORDER BY a.id DESC LIMIT :limit;
