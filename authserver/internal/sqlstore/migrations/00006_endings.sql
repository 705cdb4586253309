-- What ends with a person or with a session at an identity provider. Times are microseconds since 1970.

-- Until when what a user had is over: the directory says when somebody was deactivated, also of those who are back.
-- +goose Up
CREATE TABLE oauth_ended (
    user_uid TEXT   NOT NULL PRIMARY KEY,
    end_time BIGINT NOT NULL
);

-- The session at the provider that a login came from (sid of OpenID Connect Front-Channel and Back-Channel Logout): '' = the
-- provider named none. A code carries the columns of its grant.
ALTER TABLE oauth_logins ADD COLUMN session TEXT NOT NULL DEFAULT '';
ALTER TABLE oauth_grants ADD COLUMN session TEXT NOT NULL DEFAULT '';
ALTER TABLE oauth_codes ADD COLUMN session TEXT NOT NULL DEFAULT '';
CREATE INDEX oauth_logins_session ON oauth_logins (provider, session) WHERE session <> '';
CREATE INDEX oauth_grants_session ON oauth_grants (provider, session) WHERE session <> '';

-- +goose Down
DROP INDEX oauth_grants_session;
DROP INDEX oauth_logins_session;
ALTER TABLE oauth_codes DROP COLUMN session;
ALTER TABLE oauth_grants DROP COLUMN session;
ALTER TABLE oauth_logins DROP COLUMN session;
DROP TABLE oauth_ended;
