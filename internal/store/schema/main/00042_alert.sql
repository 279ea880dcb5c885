-- +goose Up

-- Rules that watch for what a person should look at. spec is JSON; told_at is when the last
-- notification was sent.
CREATE TABLE alert_rule (
  project ${INT} NOT NULL REFERENCES project (id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  spec TEXT NOT NULL,
  updated_by TEXT NOT NULL,
  updated_at ${INT} NOT NULL,
  told_at ${INT} NOT NULL DEFAULT 0,
  PRIMARY KEY (project, name)
)${NO_ROWID};

-- What rules found, one row for each target. The value is in millionths; told is the state
-- that was notified of last, or empty.
CREATE TABLE alert (
  project ${INT} NOT NULL,
  rule TEXT NOT NULL,
  target TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('firing', 'resolved')),
  value ${INT} NOT NULL,
  since ${INT} NOT NULL,
  changed_at ${INT} NOT NULL,
  told TEXT NOT NULL CHECK (told IN ('', 'firing', 'resolved')),
  told_at ${INT} NOT NULL,
  PRIMARY KEY (project, rule, target),
  FOREIGN KEY (project, rule) REFERENCES alert_rule (project, name) ON DELETE CASCADE
)${NO_ROWID};
CREATE INDEX alert_resolved ON alert (changed_at) WHERE state = 'resolved';

-- Nobody is notified of alerts of a rule, or of one target of it, until a time.
CREATE TABLE alert_silence (
  project ${INT} NOT NULL,
  rule TEXT NOT NULL,
  target TEXT NOT NULL,
  reason TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_at ${INT} NOT NULL,
  until ${INT} NOT NULL,
  PRIMARY KEY (project, rule, target),
  FOREIGN KEY (project, rule) REFERENCES alert_rule (project, name) ON DELETE CASCADE
)${NO_ROWID};

-- How far the evaluation of all rules has come: after a rule, or after a target of it. step
-- counts the steps, and round_at is when the last round began. One row.
CREATE TABLE alert_cursor (
  id ${INT} PRIMARY KEY CHECK (id = 1),
  step ${INT} NOT NULL,
  round_at ${INT} NOT NULL,
  project ${INT} NOT NULL,
  rule TEXT NOT NULL,
  target TEXT NOT NULL
);
INSERT INTO alert_cursor (id, step, round_at, project, rule, target) VALUES (1, 0, 0, 0, '', '');

-- Failures since the last success, and fires of a schedule that did not run.
ALTER TABLE stats ADD COLUMN streak ${INT} NOT NULL DEFAULT 0;
ALTER TABLE stats ADD COLUMN missed ${INT} NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE stats DROP COLUMN missed;
ALTER TABLE stats DROP COLUMN streak;
DROP TABLE alert_cursor;
DROP TABLE alert_silence;
DROP TABLE alert;
DROP TABLE alert_rule;
