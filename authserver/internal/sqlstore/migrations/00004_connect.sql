-- Links under which people give credentials for servers, and leases of what they gave. Times are microseconds since 1970,
-- 0 = never.

-- +goose Up
CREATE TABLE connect_links (
    hash        BYTEA  NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    user_uid    TEXT   NOT NULL,
    server      TEXT   NOT NULL,
    client_id   TEXT   NOT NULL,
    gateway     TEXT   NOT NULL,
    create_time BIGINT NOT NULL,
    expire_time BIGINT NOT NULL,
    use_time    BIGINT NOT NULL
);
CREATE INDEX connect_links_user ON connect_links (user_uid, server);
CREATE INDEX connect_links_expire_time ON connect_links (expire_time);

-- Whoever makes a link has counted the open ones.
INSERT INTO oauth_locks (name) VALUES ('connect links');

-- Until when one authserver renews the grant in a secret.
ALTER TABLE secrets ADD COLUMN lease_time BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE secrets DROP COLUMN lease_time;
DELETE FROM oauth_locks WHERE name = 'connect links';
DROP TABLE connect_links;
