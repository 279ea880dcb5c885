-- +goose Up

-- What a worker reported of the load of its machine, in thousandths of a percent, and how many
-- jobs it held.
ALTER TABLE worker ADD COLUMN load_milli ${INT} NOT NULL DEFAULT 0;
ALTER TABLE worker ADD COLUMN held ${INT} NOT NULL DEFAULT 0;
-- Since when a schedule fires less often because of the load of the workers; 0: it does not.
-- pace_at is when that changed.
ALTER TABLE schedule ADD COLUMN slowed_at ${INT} NOT NULL DEFAULT 0;
ALTER TABLE schedule ADD COLUMN pace_at ${INT} NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE schedule DROP COLUMN pace_at;
ALTER TABLE schedule DROP COLUMN slowed_at;
ALTER TABLE worker DROP COLUMN held;
ALTER TABLE worker DROP COLUMN load_milli;
