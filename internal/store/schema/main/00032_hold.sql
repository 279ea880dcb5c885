-- +goose Up

-- What holds jobs of a project: all of them (selector 'project'), those on an asset, or on
-- the assets with some labels. A hold that has ended stays until its jobs are queued.
CREATE TABLE dispatch_hold (
  id ${INT} PRIMARY KEY,
  project ${INT} NOT NULL REFERENCES project (id) ON DELETE CASCADE,
  selector TEXT NOT NULL,
  asset ${INT} NOT NULL,
  asset_name TEXT NOT NULL,
  labels TEXT NOT NULL,
  mode TEXT NOT NULL CHECK (mode IN ('wait', 'refuse')),
  reason TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_at ${INT} NOT NULL,
  until ${INT} NOT NULL DEFAULT 0,
  ended ${INT} NOT NULL DEFAULT 0 CHECK (ended IN (0, 1)),
  UNIQUE (project, selector)
);

-- +goose Down
DROP TABLE dispatch_hold;
