-- Events to every process: an append-only log. It only creates: no lock on anything that exists.

CREATE TABLE rkyc.broadcast (
  id bigint NOT NULL,
  topic text NOT NULL CHECK (length(topic) BETWEEN 1 AND 255),
  kind text NOT NULL CHECK (length(kind) BETWEEN 1 AND 63),
  payload jsonb NOT NULL,
  at timestamptz NOT NULL,
  PRIMARY KEY (id)
);
-- Each topic's own events, and its newest full refresh, with which a new process begins.
CREATE INDEX broadcast_topic ON rkyc.broadcast (topic, id);
CREATE INDEX broadcast_refresh ON rkyc.broadcast (topic, id) WHERE kind = 'full_refresh';

-- CACHE 1: a session that kept numbers in hand would give them out of order.
CREATE SEQUENCE rkyc.broadcast_seq CACHE 1;

-- The transaction has its xid before the number is drawn, so that a reader can tell when all lower numbers are
-- decided; and the number is drawn under the locks that the caller holds, so that changes of one row keep their order.
CREATE FUNCTION rkyc.broadcast(topic text, kind text, payload jsonb) RETURNS bigint LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
  new_id bigint;
BEGIN
  PERFORM pg_current_xact_id();
  new_id := nextval('rkyc.broadcast_seq');
  INSERT INTO rkyc.broadcast (id, topic, kind, payload, at) VALUES (new_id, topic, kind, payload, clock_timestamp());
  -- A hint, sent when the caller's transaction commits; the payload may be far larger than a notice.
  PERFORM pg_notify('rkyc_wake', 'broadcast');
  RETURN new_id;
END $$;
