-- The key that seals the arguments of a held call. Rows of before have none: their arguments lie in clear until they end.
ALTER TABLE approval ADD COLUMN key_id TEXT NOT NULL DEFAULT '';
