-- +goose Up

-- When a ttl that is suspended ends, because the job has started. expires_at is 0
-- then; it was the negative deadline before.
ALTER TABLE job ADD COLUMN suspended_expires_at ${INT} NOT NULL DEFAULT 0;
UPDATE job SET suspended_expires_at = -expires_at, expires_at = 0 WHERE expires_at < 0;

-- +goose Down
UPDATE job SET expires_at = -suspended_expires_at WHERE suspended_expires_at <> 0;
ALTER TABLE job DROP COLUMN suspended_expires_at;
