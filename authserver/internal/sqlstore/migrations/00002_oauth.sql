-- The state of the authorization server. Times are microseconds since 1970, 0 = not yet or never; lists are JSON arrays.
-- What somebody holds as a secret is here as its SHA-256 only (SE-1), and the checks keep anything longer out.

-- +goose Up
CREATE TABLE oauth_clients (
    client_id   TEXT   NOT NULL PRIMARY KEY,
    fingerprint BYTEA  CHECK (length(fingerprint) = 32), -- NULL = never shared
    metadata    BYTEA  NOT NULL,
    secret_hash BYTEA  CHECK (length(secret_hash) = 32), -- NULL = public
    manage_hash BYTEA  CHECK (length(manage_hash) = 32),
    create_time BIGINT NOT NULL,
    use_time    BIGINT NOT NULL,
    expire_time BIGINT NOT NULL
);
CREATE UNIQUE INDEX oauth_clients_fingerprint ON oauth_clients (fingerprint) WHERE fingerprint IS NOT NULL;
CREATE INDEX oauth_clients_unused ON oauth_clients (client_id) WHERE use_time = 0;
CREATE INDEX oauth_clients_expire_time ON oauth_clients (expire_time);

CREATE TABLE oauth_tickets (
    kind        TEXT   NOT NULL,
    hash        BYTEA  NOT NULL CHECK (length(hash) = 32),
    data        BYTEA  NOT NULL,
    expire_time BIGINT NOT NULL,
    PRIMARY KEY (kind, hash)
);
CREATE INDEX oauth_tickets_expire_time ON oauth_tickets (expire_time);

CREATE TABLE oauth_logins (
    hash        BYTEA  NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    user_uid    TEXT   NOT NULL,
    provider    TEXT   NOT NULL,
    amr         TEXT   NOT NULL,
    auth_time   BIGINT NOT NULL,
    use_time    BIGINT NOT NULL,
    expire_time BIGINT NOT NULL
);
CREATE INDEX oauth_logins_user ON oauth_logins (user_uid);
CREATE INDEX oauth_logins_expire_time ON oauth_logins (expire_time);

CREATE TABLE oauth_consents (
    user_uid      TEXT   NOT NULL,
    client_id     TEXT   NOT NULL,
    gateway       TEXT   NOT NULL,
    redirect_host TEXT   NOT NULL,
    scopes        TEXT   NOT NULL,
    fingerprint   BYTEA  CHECK (length(fingerprint) = 32),
    client_name   TEXT   NOT NULL,
    create_time   BIGINT NOT NULL,
    update_time   BIGINT NOT NULL,
    PRIMARY KEY (user_uid, client_id, gateway, redirect_host)
);

CREATE TABLE oauth_grants (
    grant_id      TEXT   NOT NULL PRIMARY KEY,
    user_uid      TEXT   NOT NULL, -- '' = client credentials
    client_id     TEXT   NOT NULL,
    redirect_host TEXT   NOT NULL,
    gateway       TEXT   NOT NULL,
    resource      TEXT   NOT NULL,
    scopes        TEXT   NOT NULL,
    amr           TEXT   NOT NULL,
    provider      TEXT   NOT NULL,
    auth_time     BIGINT NOT NULL,
    create_time   BIGINT NOT NULL,
    use_time      BIGINT NOT NULL,
    expire_time   BIGINT NOT NULL,
    revoke_time   BIGINT NOT NULL
);
CREATE INDEX oauth_grants_user ON oauth_grants (user_uid, create_time);
CREATE INDEX oauth_grants_expire_time ON oauth_grants (expire_time);
CREATE INDEX oauth_grants_revoke_time ON oauth_grants (revoke_time) WHERE revoke_time <> 0;

-- A code carries the grant that redeeming it makes, in the columns of oauth_grants.
CREATE TABLE oauth_codes (
    hash             BYTEA  NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    redirect_uri     TEXT   NOT NULL,
    challenge        TEXT   NOT NULL, -- S256
    redeem_time      BIGINT NOT NULL,
    code_expire_time BIGINT NOT NULL,
    grant_id         TEXT   NOT NULL,
    user_uid         TEXT   NOT NULL,
    client_id        TEXT   NOT NULL,
    redirect_host    TEXT   NOT NULL,
    gateway          TEXT   NOT NULL,
    resource         TEXT   NOT NULL,
    scopes           TEXT   NOT NULL,
    amr              TEXT   NOT NULL,
    provider         TEXT   NOT NULL,
    auth_time        BIGINT NOT NULL,
    create_time      BIGINT NOT NULL,
    use_time         BIGINT NOT NULL,
    expire_time      BIGINT NOT NULL,
    revoke_time      BIGINT NOT NULL
);
CREATE INDEX oauth_codes_expire_time ON oauth_codes (code_expire_time);

CREATE TABLE oauth_refresh_tokens (
    hash        BYTEA  NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    grant_id    TEXT   NOT NULL,
    create_time BIGINT NOT NULL,
    expire_time BIGINT NOT NULL,
    rotate_time BIGINT NOT NULL, -- 0 = the live token of the family
    successor   BYTEA -- sealed under a key that only the holder of this token can make (TK-9)
);
-- A family never has a second live token, whatever the code does (TK-9).
CREATE UNIQUE INDEX oauth_refresh_tokens_live ON oauth_refresh_tokens (grant_id) WHERE rotate_time = 0;
CREATE INDEX oauth_refresh_tokens_grant ON oauth_refresh_tokens (grant_id);
CREATE INDEX oauth_refresh_tokens_expire_time ON oauth_refresh_tokens (expire_time);

CREATE TABLE oauth_signing_keys (
    kid         TEXT   NOT NULL PRIMARY KEY,
    public_jwk  BYTEA  NOT NULL,
    key_id      TEXT   NOT NULL, -- of the vault
    sealed      BYTEA  NOT NULL,
    state       TEXT   NOT NULL CHECK (state IN ('next', 'active', 'retired', 'revoked')),
    create_time BIGINT NOT NULL,
    state_time  BIGINT NOT NULL
);

-- What nobody may use twice: SHA-256 of issuer and jti.
CREATE TABLE oauth_jtis (
    hash        BYTEA  NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    expire_time BIGINT NOT NULL
);
CREATE INDEX oauth_jtis_expire_time ON oauth_jtis (expire_time);

CREATE TABLE oauth_passwords (
    user_uid    TEXT   NOT NULL PRIMARY KEY,
    encoded     TEXT   NOT NULL CHECK (encoded LIKE '$argon2id$%'),
    update_time BIGINT NOT NULL
);

CREATE TABLE oauth_outbox (
    id            BIGINT  NOT NULL PRIMARY KEY,
    kind          INTEGER NOT NULL,
    hash          BYTEA   NOT NULL CHECK (length(hash) = 32),
    expire_time   BIGINT  NOT NULL,
    issued_before BIGINT  NOT NULL
);
CREATE INDEX oauth_outbox_expire_time ON oauth_outbox (expire_time);

CREATE TABLE oauth_audit (
    seq      BIGINT NOT NULL PRIMARY KEY,
    event    TEXT   NOT NULL, -- JSON
    previous BYTEA  CHECK (length(previous) = 32), -- NULL = the first
    hash     BYTEA  NOT NULL CHECK (length(hash) = 32)
);

-- The ends of the two logs that have no gaps. Whoever appends holds this row until he commits.
CREATE TABLE oauth_head (
    one        INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    audit_seq  BIGINT  NOT NULL,
    audit_hash BYTEA   CHECK (length(audit_hash) = 32), -- NULL = no record yet
    outbox_id  BIGINT  NOT NULL
);
INSERT INTO oauth_head (one, audit_seq, outbox_id) VALUES (1, 0, 0);

-- Rows that stand for something whose every change needs the whole of it read before.
CREATE TABLE oauth_locks (name TEXT NOT NULL PRIMARY KEY);
INSERT INTO oauth_locks (name) VALUES ('signing keys');

-- +goose Down
DROP TABLE oauth_locks;
DROP TABLE oauth_head;
DROP TABLE oauth_audit;
DROP TABLE oauth_outbox;
DROP TABLE oauth_passwords;
DROP TABLE oauth_jtis;
DROP TABLE oauth_signing_keys;
DROP TABLE oauth_refresh_tokens;
DROP TABLE oauth_codes;
DROP TABLE oauth_grants;
DROP TABLE oauth_consents;
DROP TABLE oauth_logins;
DROP TABLE oauth_tickets;
DROP TABLE oauth_clients;
