-- +goose Up

-- The newest migration that the worker's program knows. On PostgreSQL it has no default:
-- a server that does not know the column, and was suspended during the upgrade, cannot
-- register a worker.
ALTER TABLE worker ADD COLUMN level ${INT} NOT NULL DEFAULT 0;
${WORKER_LEVEL_REQUIRED}

-- +goose Down
ALTER TABLE worker DROP COLUMN level;
