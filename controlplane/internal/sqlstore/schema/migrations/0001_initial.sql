-- Times are microseconds since 1970-01-01 UTC, 0 for none. COLLATE "C" is SQLite's own order and left out there.

-- The newest revision: one row, updated last in every transaction that changes something.
CREATE TABLE head (
  id       BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
  epoch    TEXT   NOT NULL,
  revision BIGINT NOT NULL,
  floor    BIGINT NOT NULL -- changes up to this revision are no longer kept
);

-- One row per committed transaction. The id is made before the commit and links rows to their change; the revision is
-- assigned last. Compaction drops the detail, and the row when no resource needs it.
CREATE TABLE change (
  id       BIGINT NOT NULL PRIMARY KEY,
  revision BIGINT NOT NULL UNIQUE,
  actor    TEXT   NOT NULL,
  at       BIGINT NOT NULL,
  atomic   BIGINT NOT NULL,
  detail   BYTEA           -- JSON: denials and operations with their bodies
);

CREATE TABLE resource (
  kind       TEXT COLLATE "C" NOT NULL,
  name       TEXT COLLATE "C" NOT NULL,
  uid        TEXT   NOT NULL,
  version    BYTEA  NOT NULL, -- SHA-256
  body       BYTEA  NOT NULL, -- canonical JSON
  blobs      BYTEA  NOT NULL, -- hashes, 32 bytes each
  lookup     TEXT   NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  deleted_at BIGINT NOT NULL,
  change_id  BIGINT NOT NULL,
  PRIMARY KEY (kind, name)
);

CREATE UNIQUE INDEX resource_lookup ON resource (kind, lookup) WHERE lookup <> '' AND deleted_at = 0;

CREATE INDEX resource_change ON resource (change_id);

-- Tool definitions, byte for byte, each once. orphan_at is when maintenance first found that no resource needs one.
CREATE TABLE blob (
  hash      BYTEA  NOT NULL PRIMARY KEY,
  body      BYTEA  NOT NULL,
  orphan_at BIGINT NOT NULL
);

-- Small facts outside the revision log.
CREATE TABLE note (
  kind TEXT   NOT NULL,
  name TEXT   NOT NULL,
  body BYTEA  NOT NULL,
  at   BIGINT NOT NULL,
  PRIMARY KEY (kind, name)
);
