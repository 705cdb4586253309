-- The staged rollout of the deployment: one row at most, which all control planes share. The version decides between two that
-- change it at the same moment.
CREATE TABLE rollout (
  id      BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
  version BIGINT NOT NULL,
  body    BYTEA  NOT NULL -- JSON
);
