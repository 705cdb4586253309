-- What was done (G-60): tool calls, as nodes recorded them, and writes through the admin API. Rows are added, and go when they are too
-- old; none is ever changed.
CREATE TABLE audit_event (
  seq           BIGINT NOT NULL PRIMARY KEY, -- in the order of commits
  at            BIGINT NOT NULL,
  source        TEXT   NOT NULL,
  principal     TEXT   NOT NULL, -- as people write it
  principal_key TEXT   NOT NULL, -- kind and uid
  gateway       TEXT   NOT NULL,
  tool          TEXT COLLATE "C" NOT NULL,
  outcome       TEXT   NOT NULL,
  policy        TEXT   NOT NULL,
  body          BYTEA  NOT NULL -- JSON
);

CREATE INDEX audit_event_at ON audit_event (at, seq);

CREATE INDEX audit_event_principal ON audit_event (principal_key, at, seq);

-- The newest number: whoever adds events takes the row first, so that nobody who follows them misses one.
CREATE TABLE audit_head (
  id  BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
  seq BIGINT NOT NULL
);

INSERT INTO audit_head (id, seq) VALUES (1, 0);

-- How much of each queue of a node is stored: what is handed in again is not taken again.
CREATE TABLE audit_queue (
  node   TEXT   NOT NULL, -- SPIFFE id
  queue  TEXT   NOT NULL,
  stored BIGINT NOT NULL, -- number of the newest event
  at     BIGINT NOT NULL,
  PRIMARY KEY (node, queue)
);
