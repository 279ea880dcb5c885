-- +goose Up
-- floor: 19

-- What fires by itself. spec is JSON. owner and owner_key are those of the person who last
-- changed it; next_at is the first instant that is not decided, look_at when a server looks
-- at the schedule (0: never; it has ended or is paused), problem why the last fire
-- did not run, blocked why the one that is due cannot for now. Times are in microseconds.
CREATE TABLE schedule (
  id ${INT} PRIMARY KEY,
  project ${INT} NOT NULL,
  name TEXT NOT NULL,
  enabled ${INT} NOT NULL CHECK (enabled IN (0, 1)),
  spec TEXT NOT NULL,
  owner ${INT} NOT NULL,
  owner_key ${INT} NOT NULL,
  next_at ${INT} NOT NULL,
  look_at ${INT} NOT NULL,
  problem TEXT NOT NULL DEFAULT '',
  blocked TEXT NOT NULL DEFAULT '',
  created_at ${INT} NOT NULL,
  updated_at ${INT} NOT NULL,
  UNIQUE (project, name)
);
CREATE INDEX schedule_look ON schedule (look_at) WHERE look_at <> 0;

-- What became of the instants of schedules: an instant, or consecutive ones that did not
-- run. active: the run had live jobs when a server last looked; a replaced one is active
-- until its jobs are cancelled.
CREATE TABLE schedule_fire (
  id ${INT} PRIMARY KEY,
  schedule ${INT} NOT NULL,
  project ${INT} NOT NULL,
  name TEXT NOT NULL,
  at ${INT} NOT NULL,
  until_at ${INT} NOT NULL,
  instants ${INT} NOT NULL CHECK (instants >= 1),
  more ${INT} NOT NULL CHECK (more IN (0, 1)),
  manual ${INT} NOT NULL CHECK (manual IN (0, 1)),
  state TEXT NOT NULL CHECK (state IN ('started', 'queued', 'skipped', 'missed', 'merged', 'refused', 'replaced')),
  active ${INT} NOT NULL CHECK (active IN (0, 1)),
  run ${INT} NOT NULL,
  jobs ${INT} NOT NULL,
  created_by TEXT NOT NULL,
  reason TEXT NOT NULL,
  decided_at ${INT} NOT NULL
);
CREATE UNIQUE INDEX schedule_fire_once ON schedule_fire (schedule, at) WHERE manual = 0;
CREATE INDEX schedule_fire_list ON schedule_fire (schedule, id);
CREATE INDEX schedule_fire_project ON schedule_fire (project, id);
CREATE INDEX schedule_fire_active ON schedule_fire (schedule, id) WHERE active = 1;
CREATE INDEX schedule_fire_queued ON schedule_fire (schedule, at) WHERE state = 'queued';
CREATE INDEX schedule_fire_replaced ON schedule_fire (id) WHERE state = 'replaced' AND active = 1;

-- +goose Down
DROP TABLE schedule_fire;
DROP TABLE schedule;
