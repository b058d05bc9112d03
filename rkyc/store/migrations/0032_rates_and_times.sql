-- What is said of a wait for a rate, and times that no client can read. Takes no lock on anything that exists.

-- Why: a wait for a rate ends at its time, whatever becomes of places.
INSERT INTO rkyc.reason VALUES
  ('rate', 'waits for {detail} until {due} ({until}), since {since}', 'nothing: it goes on at its time; a higher rate lets more begin');

DO $$
DECLARE
  said text := pg_get_functiondef('rkyc.why_unheld(uuid)'::regprocedure);
  before text := 'FROM rkyc.reason m WHERE m.name = name OR';
  after text := $q$FROM rkyc.reason m WHERE m.name = CASE WHEN name = 'limit' AND t.key LIKE 'rate/%' THEN 'rate' ELSE name END OR$q$;
BEGIN
  IF position(before IN said) = 0 THEN RAISE EXCEPTION 'rkyc.why_unheld is not the one that is known'; END IF;
  EXECUTE replace(said, before, after);
END $$;

-- A job for the end of time is a mistake, and every look at it would be refused by the client's own dates.
DO $$
DECLARE
  said text;
  before text := 'IF NOT EXISTS (SELECT FROM rkyc.lane l WHERE l.name = lane) THEN';
BEGIN
  FOR said IN SELECT pg_get_functiondef(f) FROM unnest(ARRAY[
    'rkyc.enqueue(text, jsonb, text, text, timestamptz)', 'rkyc.enqueue_many(text, jsonb[], text, timestamptz)']::regprocedure[]) f
  LOOP
    IF position(before IN said) = 0 THEN RAISE EXCEPTION 'rkyc.enqueue is not the one that is known'; END IF;
    EXECUTE replace(said, before, $q$IF run_at >= '9999-12-31' THEN
    RAISE EXCEPTION 'run_at is %', run_at USING ERRCODE = 'RK009', HINT = 'pass a time before the end of the year 9999';
  END IF;
  $q$ || before);
  END LOOP;
END $$;
