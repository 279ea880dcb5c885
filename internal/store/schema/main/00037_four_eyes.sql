-- +goose Up

-- four_eyes: an unknown job is resolved as succeeded by another person than its requester.
ALTER TABLE project ADD COLUMN four_eyes ${INT} NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE project DROP COLUMN four_eyes;
