-- +goose Up

-- Built-in command rules that a project has changed, and rules of its own. The spec is
-- JSON: see CommandRuleRow in package store.
CREATE TABLE command_rule (
  project ${INT} NOT NULL REFERENCES project (id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  spec TEXT NOT NULL,
  updated_by TEXT NOT NULL,
  updated_at ${INT} NOT NULL,
  PRIMARY KEY (project, name)
)${NO_ROWID};

-- +goose Down
DROP TABLE command_rule;
