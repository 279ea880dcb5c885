-- +goose Up

-- What follows the end of a run. spec is a hostler.FollowUp as JSON; owner and owner_key have
-- the rights; due_at is when a server looks at it (0: not before the run ends), state what
-- became of it, next and delivery what it made.
CREATE TABLE follow_up (
  run ${INT} NOT NULL,
  n ${INT} NOT NULL,
  project ${INT} NOT NULL,
  spec TEXT NOT NULL,
  owner ${INT} NOT NULL,
  owner_name TEXT NOT NULL,
  owner_key ${INT} NOT NULL,
  due_at ${INT} NOT NULL DEFAULT 0,
  state TEXT NOT NULL CHECK (state IN ('waiting', 'done', 'refused')),
  next ${INT} NOT NULL DEFAULT 0,
  delivery ${INT} NOT NULL DEFAULT 0,
  reason TEXT NOT NULL DEFAULT '',
  decided_at ${INT} NOT NULL DEFAULT 0,
  PRIMARY KEY (run, n)
)${NO_ROWID};
CREATE INDEX follow_up_due ON follow_up (due_at) WHERE due_at <> 0;

-- depth: how many runs came before in a chain. follows: it has rows in follow_up. output_of
-- names the runs that its output is compared with.
ALTER TABLE run ADD COLUMN depth ${INT} NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN follows ${INT} NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN output_of TEXT NOT NULL DEFAULT '';

-- The hash of the last output of runs that are compared.
CREATE TABLE run_output_hash (
  project ${INT} NOT NULL,
  output_of TEXT NOT NULL,
  run ${INT} NOT NULL,
  hash TEXT NOT NULL,
  PRIMARY KEY (project, output_of)
)${NO_ROWID};

-- +goose Down
DROP TABLE run_output_hash;
ALTER TABLE run DROP COLUMN output_of;
ALTER TABLE run DROP COLUMN follows;
ALTER TABLE run DROP COLUMN depth;
DROP TABLE follow_up;
