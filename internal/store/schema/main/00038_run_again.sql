-- +goose Up

-- A run begins not before start_at, when a calendar was closed.
ALTER TABLE run ADD COLUMN start_at ${INT} NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE run DROP COLUMN start_at;
