-- Tool calls that wait for a person (G-34). Every transition is one conditional UPDATE of a row.
CREATE TABLE approval (
  id               TEXT   NOT NULL PRIMARY KEY,
  state            TEXT   NOT NULL, -- PENDING, APPROVED, DENIED, EXPIRED, RUN
  live_key         TEXT   NOT NULL, -- what calls that are the same have in common, while the row answers for them; else empty
  call             BYTEA  NOT NULL, -- JSON: who calls what, and who may approve it
  arguments        BYTEA  NOT NULL, -- as they came; empty once the approval has ended
  arguments_sha256 BYTEA  NOT NULL, -- of their canonical form
  created_at       BIGINT NOT NULL,
  expires_at       BIGINT NOT NULL,
  decided_by       TEXT   NOT NULL,
  decided_at       BIGINT NOT NULL,
  reason           TEXT   NOT NULL,
  run_node         TEXT   NOT NULL,
  run_at           BIGINT NOT NULL,
  ended_at         BIGINT NOT NULL
);

CREATE UNIQUE INDEX approval_live ON approval (live_key) WHERE live_key <> '';

CREATE INDEX approval_created ON approval (created_at, id);

CREATE INDEX approval_due ON approval (expires_at) WHERE ended_at = 0;

CREATE INDEX approval_ended ON approval (ended_at) WHERE ended_at <> 0;

-- What happened to them, and which of it is still to be told to the webhook.
CREATE TABLE approval_event (
  id       TEXT   NOT NULL PRIMARY KEY, -- also the webhook-id
  approval TEXT   NOT NULL,
  kind     TEXT   NOT NULL, -- created, approved, denied, expired, run
  at       BIGINT NOT NULL,
  actor    TEXT   NOT NULL, -- e-mail address, or node
  how      TEXT   NOT NULL, -- api, cli, webhook; empty for what nobody did
  send_at  BIGINT NOT NULL, -- when it is tried to be sent next; 0: it was sent, or never is
  attempts BIGINT NOT NULL
);

CREATE INDEX approval_event_of ON approval_event (approval, at);

CREATE INDEX approval_event_send ON approval_event (send_at) WHERE send_at <> 0;

-- Messages of the webhook that were answered: the same again is answered in the same way.
CREATE TABLE approval_answer (
  id          TEXT   NOT NULL PRIMARY KEY, -- webhook-id
  body_sha256 BYTEA  NOT NULL,
  status      BIGINT NOT NULL,
  answer      BYTEA  NOT NULL,
  at          BIGINT NOT NULL
);

CREATE INDEX approval_answer_at ON approval_answer (at);
