-- +goose Up

-- The targets of the request for a run, as JSON.
ALTER TABLE run ADD COLUMN targets TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE run DROP COLUMN targets;
