-- +goose Up

-- When fires and runs may not begin. The spec is JSON: see CalendarRow in package store.
CREATE TABLE calendar (
  project ${INT} NOT NULL REFERENCES project (id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  spec TEXT NOT NULL,
  updated_by TEXT NOT NULL,
  updated_at ${INT} NOT NULL,
  PRIMARY KEY (project, name)
)${NO_ROWID};

-- +goose Down
DROP TABLE calendar;
