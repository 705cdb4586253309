-- The control planes of the deployment (D-51). Each renews its row every 5 s and counts as gone after 15 s.
CREATE TABLE replica (
  id      TEXT   NOT NULL PRIMARY KEY, -- of one process
  address TEXT   NOT NULL,             -- host:port of its node stream
  streams BIGINT NOT NULL,             -- nodes that follow it
  seen_at BIGINT NOT NULL              -- by the clock of the database
);
