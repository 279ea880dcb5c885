-- +goose Up

-- What an admin of the installation set for a project; one without a row has weight 1 and
-- no limits. 0 is no limit; times are in microseconds. A table of its own: claims lock its
-- rows, and those of project are locked by every transaction that refers to one.
CREATE TABLE project_limit (
  project ${INT} PRIMARY KEY REFERENCES project (id) ON DELETE CASCADE,
  weight ${INT} NOT NULL CHECK (weight >= 1),
  max_running ${INT} NOT NULL CHECK (max_running >= 0),
  max_queued ${INT} NOT NULL CHECK (max_queued >= 0),
  max_timeout ${INT} NOT NULL CHECK (max_timeout >= 0),
  max_backoff ${INT} NOT NULL CHECK (max_backoff >= 0),
  updated_at ${INT} NOT NULL
);

-- The projects that may use a queue. A queue without rows is open to all of them.
CREATE TABLE queue_grant (
  queue TEXT NOT NULL REFERENCES queue (name) ON DELETE CASCADE,
  project ${INT} NOT NULL REFERENCES project (id) ON DELETE CASCADE,
  PRIMARY KEY (queue, project)
)${NO_ROWID};

-- The project whose jobs were queued in the lane: 0 none yet, -1 several.
ALTER TABLE lane ADD COLUMN project ${INT} NOT NULL DEFAULT 0;
UPDATE lane SET project = COALESCE((SELECT CASE WHEN min(j.project) = max(j.project) THEN min(j.project) ELSE -1 END
FROM job j WHERE j.lane = lane.id AND j.lane <> 0), 0);

-- Which projects have a device.
CREATE INDEX asset_device ON asset (device_key, project);

-- +goose Down
DROP INDEX asset_device;
ALTER TABLE lane DROP COLUMN project;
DROP TABLE queue_grant;
DROP TABLE project_limit;
