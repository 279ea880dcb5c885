-- +goose Up

-- gated: how many hosts of a step had started when the gate before its next wave began.
ALTER TABLE run_step ADD COLUMN gated ${INT} NOT NULL DEFAULT 0;
-- ran: the job of the host has begun at least once in this step. about: the job that a probe
-- looks at. note: why the host has no job, or what a probe found, as a text in both languages.
ALTER TABLE run_host ADD COLUMN ran ${INT} NOT NULL DEFAULT 0;
ALTER TABLE run_host ADD COLUMN about ${INT} NOT NULL DEFAULT 0;
ALTER TABLE run_host ADD COLUMN note TEXT NOT NULL DEFAULT '';

-- Values that the jobs of a step left for later steps, as a JSON object.
CREATE TABLE run_output (
  step ${INT} NOT NULL,
  seq ${INT} NOT NULL,
  round ${INT} NOT NULL,
  asset ${INT} NOT NULL,
  host TEXT NOT NULL,
  outputs TEXT NOT NULL,
  PRIMARY KEY (step, seq)
)${NO_ROWID};
CREATE INDEX run_output_asset ON run_output (step, asset);

-- +goose Down
DROP TABLE run_output;
ALTER TABLE run_host DROP COLUMN note;
ALTER TABLE run_host DROP COLUMN about;
ALTER TABLE run_host DROP COLUMN ran;
ALTER TABLE run_step DROP COLUMN gated;
