-- +goose Up

-- What started a run beside a person, such as schedule:night.
ALTER TABLE run ADD COLUMN origin TEXT NOT NULL DEFAULT '';
-- How many hosts of a step run at once; 0: no limit.
ALTER TABLE run_step ADD COLUMN parallel ${INT} NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE run_step DROP COLUMN parallel;
ALTER TABLE run DROP COLUMN origin;
