-- Revocations of access tokens (D-32) have a sequence of their own, apart from the revisions; its epoch is the head's.
CREATE TABLE revocation_head (
  id  BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
  seq BIGINT NOT NULL -- assigned last, under a lock of its own, for the reason of the head's revision
);

INSERT INTO revocation_head (id, seq) VALUES (1, 0);

-- What was revoked again, for longer, has moved to the end of the sequence.
CREATE TABLE revocation (
  kind          BIGINT NOT NULL,
  key_sha256    BYTEA  NOT NULL, -- of the jti, gid, kid or uid
  issued_before BIGINT NOT NULL, -- tokens of a subject that are older; 0 for all
  expires_at    BIGINT NOT NULL,
  seq           BIGINT NOT NULL,
  PRIMARY KEY (kind, key_sha256)
);

CREATE UNIQUE INDEX revocation_seq ON revocation (seq);

CREATE INDEX revocation_expires ON revocation (expires_at);
