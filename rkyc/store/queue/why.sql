-- name: read_why
SELECT w.reason, w.why, w.remedy, w.facts FROM rkyc.why(:uuid) w;
