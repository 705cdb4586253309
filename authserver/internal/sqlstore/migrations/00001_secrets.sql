-- +goose Up
CREATE TABLE secrets (
    connection   TEXT   NOT NULL,
    version      TEXT   NOT NULL,
    key_id       TEXT   NOT NULL,
    sealed       BYTEA  NOT NULL,
    create_time  BIGINT NOT NULL, -- microseconds since 1970
    resolve_time BIGINT NOT NULL DEFAULT 0, -- microseconds since 1970, 0 = never
    PRIMARY KEY (connection, version)
);

-- Re-encryption looks for what another key sealed.
CREATE INDEX secrets_key_id ON secrets (key_id);

-- +goose Down
DROP TABLE secrets;
