-- Whom a grant is about at an identity provider, if an identity assertion made it: '' = it came another way. A code carries the
-- columns of its grant.

-- +goose Up
ALTER TABLE oauth_grants ADD COLUMN subject_issuer TEXT NOT NULL DEFAULT '';
ALTER TABLE oauth_grants ADD COLUMN subject TEXT NOT NULL DEFAULT '';
ALTER TABLE oauth_grants ADD COLUMN subject_session TEXT NOT NULL DEFAULT '';
ALTER TABLE oauth_codes ADD COLUMN subject_issuer TEXT NOT NULL DEFAULT '';
ALTER TABLE oauth_codes ADD COLUMN subject TEXT NOT NULL DEFAULT '';
ALTER TABLE oauth_codes ADD COLUMN subject_session TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE oauth_codes DROP COLUMN subject_session;
ALTER TABLE oauth_codes DROP COLUMN subject;
ALTER TABLE oauth_codes DROP COLUMN subject_issuer;
ALTER TABLE oauth_grants DROP COLUMN subject_session;
ALTER TABLE oauth_grants DROP COLUMN subject;
ALTER TABLE oauth_grants DROP COLUMN subject_issuer;
