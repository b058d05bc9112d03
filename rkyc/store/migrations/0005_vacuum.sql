-- When autovacuum comes to each table. Takes a lock on one table after the other that lets readers and writers
-- through (SHARE UPDATE EXCLUSIVE); an autovacuum that is under way there gives up and comes again.

-- Rows come and go: what a backlog adds is gone before a vacuum for its inserts alone would pay. They keep their
-- pages when they are empty: a table of no pages is planned as a scan, which a session may keep when it is full.
-- Not `running`, which is small: who asks by worker reads all its pages.
ALTER TABLE rkyc.running SET (autovacuum_vacuum_insert_threshold = -1);
ALTER TABLE rkyc.ready SET (autovacuum_vacuum_insert_threshold = -1, vacuum_truncate = false);

-- Hot at one end, and perhaps millions of rows long: by default a fifth of them would have to die first.
ALTER TABLE rkyc.scheduled SET (autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_scale_factor = 0.01,
  autovacuum_analyze_threshold = 20000, vacuum_truncate = false);
ALTER TABLE rkyc.waiting SET (autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_scale_factor = 0.01,
  autovacuum_analyze_threshold = 20000, vacuum_truncate = false);

-- Written once: frozen a while later, when the pages are still in memory, and never read by a vacuum again. By
-- default a fifth of a large table would be read back from the disk at once, and all of it before its xids run out.
-- No statistics before 2,000 rows: those of a few rows make scans look cheap, as above.
ALTER TABLE rkyc.job SET (autovacuum_vacuum_insert_threshold = 200000, autovacuum_vacuum_insert_scale_factor = 0,
  autovacuum_freeze_min_age = 0, autovacuum_analyze_threshold = 2000);
ALTER TABLE rkyc.checkpoint SET (autovacuum_vacuum_insert_threshold = 200000, autovacuum_vacuum_insert_scale_factor = 0,
  autovacuum_freeze_min_age = 0, autovacuum_analyze_threshold = 2000);
ALTER TABLE rkyc.event SET (autovacuum_vacuum_insert_threshold = 200000, autovacuum_vacuum_insert_scale_factor = 0,
  autovacuum_freeze_min_age = 0, autovacuum_analyze_threshold = 2000);
ALTER TABLE rkyc.history SET (autovacuum_vacuum_insert_threshold = 200000, autovacuum_vacuum_insert_scale_factor = 0,
  autovacuum_freeze_min_age = 0, autovacuum_analyze_threshold = 2000);
ALTER TABLE rkyc.journal SET (autovacuum_vacuum_insert_threshold = 200000, autovacuum_vacuum_insert_scale_factor = 0,
  autovacuum_freeze_min_age = 0, autovacuum_analyze_threshold = 2000);
ALTER TABLE rkyc.idempotency SET (autovacuum_vacuum_insert_threshold = 200000, autovacuum_vacuum_insert_scale_factor = 0,
  autovacuum_freeze_min_age = 0, autovacuum_analyze_threshold = 2000);
-- A thousand of its rows hold a gigabyte.
ALTER TABLE rkyc.blob_chunk SET (autovacuum_vacuum_insert_threshold = 2000, autovacuum_vacuum_insert_scale_factor = 0,
  autovacuum_freeze_min_age = 0);
