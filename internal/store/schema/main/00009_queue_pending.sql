-- +goose Up

-- 1 while lanes still have to follow a pause or a resume of the queue: the first
-- transaction changes so many of them, the engine the others, step by step.
ALTER TABLE queue ADD COLUMN lanes_pending ${INT} NOT NULL DEFAULT 0 CHECK (lanes_pending IN (0, 1));

-- +goose Down
ALTER TABLE queue DROP COLUMN lanes_pending;
