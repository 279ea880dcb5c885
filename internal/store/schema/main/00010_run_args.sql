-- +goose Up

-- Args that several jobs of a run have in common, stored once. Their jobs have the id
-- in shared_args and no args of their own; 0 means that the args are in the job's row.
-- checked_at is when a job of the run was last known to need them.
CREATE TABLE run_args (
  id ${INT} PRIMARY KEY,
  run ${INT} NOT NULL,
  checked_at ${INT} NOT NULL,
  args TEXT NOT NULL
);
CREATE INDEX run_args_checked ON run_args (checked_at);
ALTER TABLE job ADD COLUMN shared_args ${INT} NOT NULL DEFAULT 0;
ALTER TABLE ${HISTORY} ADD COLUMN shared_args ${INT} NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE ${HISTORY} DROP COLUMN shared_args;
ALTER TABLE job DROP COLUMN shared_args;
DROP TABLE run_args;
