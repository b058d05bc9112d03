-- name: read_ending
SELECT j.traits, clock_timestamp() AS now FROM rkyc.job j WHERE j.id = :job_id;

-- name: tell_lanes
-- Sent when the caller's transaction commits; Postgres folds equal ones of a transaction into one.
SELECT pg_notify('rkyc_wake', l) FROM unnest(:lanes::text[]) l;
