-- Who may hold a certificate of the built-in authority (D-81). A join token is kept as its SHA-256 only.
CREATE TABLE join_token (
  token_sha256 BYTEA  NOT NULL PRIMARY KEY,
  spiffe_id    TEXT   NOT NULL,
  actor        TEXT   NOT NULL,
  created_at   BIGINT NOT NULL,
  expires_at   BIGINT NOT NULL,
  used_at      BIGINT NOT NULL -- 0: not used yet
);

CREATE INDEX join_token_expires ON join_token (expires_at);

-- One row per workload that was enrolled or banned. A ban never ends.
CREATE TABLE workload (
  spiffe_id   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  key_sha256  BYTEA  NOT NULL, -- of the public key (SubjectPublicKeyInfo) that it may renew with; empty: never enrolled
  enrolled_at BIGINT NOT NULL,
  banned_at   BIGINT NOT NULL, -- 0: not banned
  ban_actor   TEXT   NOT NULL,
  ban_reason  TEXT   NOT NULL
);

CREATE INDEX workload_banned ON workload (banned_at);
