-- +goose Up

-- What waits or runs knows its project. The jobs of one queue and one project are a
-- range of ready: a claim looks at the heads of these ranges, however long they are.
CREATE TABLE ready_next (
  queue TEXT NOT NULL,
  project ${INT} NOT NULL,
  owner ${INT} NOT NULL,
  rank ${INT} NOT NULL,
  id ${INT} NOT NULL UNIQUE,
  lane ${INT} NOT NULL,
  prio ${INT} NOT NULL,
  attempt ${INT} NOT NULL,
  losses ${INT} NOT NULL,
  fence ${INT} NOT NULL,
  queued_at ${INT} NOT NULL,
  free_at ${INT} NOT NULL,
  PRIMARY KEY (queue, project, owner, rank, id)
)${HOT_NO_ROWID};
INSERT INTO ready_next (queue, project, owner, rank, id, lane, prio, attempt, losses, fence, queued_at, free_at)
SELECT r.queue, j.project, r.owner, r.rank, r.id, r.lane, r.prio, r.attempt, r.losses, r.fence, r.queued_at, r.free_at
FROM ready r JOIN job j ON j.id = r.id;
DROP TABLE ready;
ALTER TABLE ready_next RENAME TO ready;
CREATE INDEX ready_hint ON ready (free_at) WHERE owner <> 0;

-- The jobs of one queue in a lane are a range of wait, so that those of a paused
-- queue, however many, are passed in one step.
CREATE TABLE wait_next (
  lane ${INT} NOT NULL,
  queue TEXT NOT NULL,
  prio ${INT} NOT NULL,
  queued_at ${INT} NOT NULL,
  id ${INT} NOT NULL UNIQUE,
  project ${INT} NOT NULL,
  attempt ${INT} NOT NULL,
  losses ${INT} NOT NULL,
  fence ${INT} NOT NULL,
  PRIMARY KEY (lane, queue, prio, queued_at, id)
)${HOT_NO_ROWID};
INSERT INTO wait_next (lane, queue, prio, queued_at, id, project, attempt, losses, fence)
SELECT w.lane, w.queue, w.prio, w.queued_at, w.id, j.project, w.attempt, w.losses, w.fence
FROM wait w JOIN job j ON j.id = w.id;
DROP TABLE wait;
ALTER TABLE wait_next RENAME TO wait;
CREATE INDEX wait_queue ON wait (queue);

ALTER TABLE running ADD COLUMN project ${INT} NOT NULL DEFAULT 0;
UPDATE running SET project = COALESCE((SELECT j.project FROM job j WHERE j.id = running.id), 0);

-- How many jobs of a project wait in a queue, and are scheduled for it: the sum of
-- its row here and of its rows in queue_delta. Each transaction adds the change that
-- it makes there, so that none waits for another; the engine sums them up here.
CREATE TABLE queue_count (
  queue TEXT NOT NULL,
  project ${INT} NOT NULL,
  queued ${INT} NOT NULL,
  scheduled ${INT} NOT NULL,
  PRIMARY KEY (queue, project)
)${HOT_NO_ROWID};
CREATE TABLE queue_delta (
  id ${AUTO_ID},
  queue TEXT NOT NULL,
  project ${INT} NOT NULL,
  queued ${INT} NOT NULL,
  scheduled ${INT} NOT NULL
)${HOT};
INSERT INTO queue_count (queue, project, queued, scheduled)
SELECT x.queue, x.project, CAST(sum(x.queued) AS ${INT}), CAST(sum(x.scheduled) AS ${INT}) FROM (
SELECT queue, project, 1 AS queued, 0 AS scheduled FROM ready
UNION ALL SELECT queue, project, 1, 0 FROM wait
UNION ALL SELECT j.queue, j.project, 0, 1 FROM sched s JOIN job j ON j.id = s.id
) x GROUP BY x.queue, x.project;

-- +goose Down
DROP TABLE queue_delta;
DROP TABLE queue_count;
ALTER TABLE running DROP COLUMN project;

CREATE TABLE wait_next (
  lane ${INT} NOT NULL,
  prio ${INT} NOT NULL,
  queued_at ${INT} NOT NULL,
  id ${INT} NOT NULL UNIQUE,
  queue TEXT NOT NULL,
  attempt ${INT} NOT NULL,
  losses ${INT} NOT NULL,
  fence ${INT} NOT NULL,
  PRIMARY KEY (lane, prio, queued_at, id)
)${HOT_NO_ROWID};
INSERT INTO wait_next (lane, prio, queued_at, id, queue, attempt, losses, fence)
SELECT lane, prio, queued_at, id, queue, attempt, losses, fence FROM wait;
DROP TABLE wait;
ALTER TABLE wait_next RENAME TO wait;
CREATE INDEX wait_queue ON wait (queue);

CREATE TABLE ready_next (
  queue TEXT NOT NULL,
  owner ${INT} NOT NULL,
  rank ${INT} NOT NULL,
  id ${INT} NOT NULL UNIQUE,
  lane ${INT} NOT NULL,
  prio ${INT} NOT NULL,
  attempt ${INT} NOT NULL,
  losses ${INT} NOT NULL,
  fence ${INT} NOT NULL,
  queued_at ${INT} NOT NULL,
  free_at ${INT} NOT NULL,
  PRIMARY KEY (queue, owner, rank, id)
)${HOT_NO_ROWID};
INSERT INTO ready_next (queue, owner, rank, id, lane, prio, attempt, losses, fence, queued_at, free_at)
SELECT queue, owner, rank, id, lane, prio, attempt, losses, fence, queued_at, free_at FROM ready;
DROP TABLE ready;
ALTER TABLE ready_next RENAME TO ready;
CREATE INDEX ready_hint ON ready (free_at) WHERE owner <> 0;
