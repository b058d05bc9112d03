-- name: find_corp
-- The first identification that both sides have decides: with the same name but another
-- business number it is another company.
SELECT id
FROM rkyc.corp
WHERE (biz_no IS NOT NULL AND biz_no = :biz_no)
   OR ((biz_no IS NULL OR :biz_no::text IS NULL) AND (
          (corp_reg_no IS NOT NULL AND corp_reg_no = :corp_reg_no)
       OR ((corp_reg_no IS NULL OR :corp_reg_no::text IS NULL) AND (
              (listed_code IS NOT NULL AND listed_code = :listed_code AND country IS NOT DISTINCT FROM :country)
           OR ((listed_code IS NULL OR :listed_code::text IS NULL) AND name_key = :name_key)))))
ORDER BY (biz_no IS NOT DISTINCT FROM :biz_no AND biz_no IS NOT NULL) DESC,
         (corp_reg_no IS NOT DISTINCT FROM :corp_reg_no AND corp_reg_no IS NOT NULL) DESC,
         (listed_code IS NOT DISTINCT FROM :listed_code AND listed_code IS NOT NULL) DESC,
         id
LIMIT 1

-- name: add_corp
-- Two runs of one new company meet on the identity key: the second gets the first one's row.
INSERT INTO rkyc.corp (identity_key, name, name_key, biz_no, corp_reg_no, listed_code, country)
VALUES (:identity_key, :name, :name_key, :biz_no, :corp_reg_no, :listed_code, :country)
ON CONFLICT DO NOTHING
RETURNING id

-- name: update_corp
-- A field that this dossier leaves out keeps what an earlier one said.
UPDATE rkyc.corp
SET name = :name,
    name_key = :name_key,
    name_en = coalesce(:name_en, name_en),
    aliases = CASE WHEN cardinality(:aliases::text[]) > 0 THEN :aliases::text[] ELSE aliases END,
    biz_no = coalesce(biz_no, :biz_no),
    corp_reg_no = coalesce(corp_reg_no, :corp_reg_no),
    listed_code = coalesce(:listed_code, listed_code),
    country = coalesce(:country, country),
    industry_code = coalesce(:industry_code, industry_code),
    ceo_name = coalesce(:ceo_name, ceo_name),
    currency = coalesce(:currency, currency),
    updated_at = now()
WHERE id = :corp_id

-- name: read_corp
SELECT id, name, name_en, aliases, biz_no, corp_reg_no, industry_code, ceo_name, country, listed_code, currency
FROM rkyc.corp
WHERE id = :corp_id

-- name: lock_corp
-- Serialises what runs of one company write: versions of the snapshot, marks of change.
SELECT id FROM rkyc.corp WHERE id = :corp_id FOR NO KEY UPDATE
