-- +goose Up

-- The jobs that ended, added up: of a project, by kind (action, queue, user, asset, schedule,
-- task) and name, in spans of so many seconds (0: all of them) from at. The totals are in
-- microseconds; the histograms are those of package stats.
CREATE TABLE stats (
  project ${INT} NOT NULL,
  kind TEXT NOT NULL,
  span ${INT} NOT NULL,
  name TEXT NOT NULL,
  at ${INT} NOT NULL,
  succeeded ${INT} NOT NULL,
  failed ${INT} NOT NULL,
  cancelled ${INT} NOT NULL,
  last_at ${INT} NOT NULL,
  started ${INT} NOT NULL,
  run_total ${INT} NOT NULL,
  wait_total ${INT} NOT NULL,
  run_times ${BYTES} NOT NULL,
  wait_times ${BYTES} NOT NULL,
  PRIMARY KEY (project, kind, span, name, at)
)${NO_ROWID};
CREATE INDEX stats_at ON stats (span, at);

-- How far the statistics have come: events up to pos, and of the jobs that ended before
-- this table was made (up to before, in parts of the history up to last_part, which is -1
-- until the first look) those of earlier parts than part, and in it up to job. One row.
CREATE TABLE stats_cursor (
  id ${INT} PRIMARY KEY CHECK (id = 1),
  pos ${INT} NOT NULL,
  before ${INT} NOT NULL,
  last_part ${INT} NOT NULL,
  part ${INT} NOT NULL,
  job ${INT} NOT NULL
);
-- The end of a job has the time of its event.
INSERT INTO stats_cursor (id, pos, before, last_part, part, job) SELECT 1,
  COALESCE((SELECT max(e.last) FROM event e), 0) + COALESCE((SELECT CAST(sum(o.n) AS BIGINT) FROM outbox o), 0),
  COALESCE((SELECT max(x.at) FROM (SELECT at FROM event UNION ALL SELECT at FROM outbox) x),
    (SELECT max(d.ended_at) FROM done d), 0),
  -1, -1, 0;

-- The schedule of a run.
CREATE INDEX schedule_fire_run ON schedule_fire (run) WHERE run <> 0;

-- +goose Down
DROP INDEX schedule_fire_run;
DROP TABLE stats_cursor;
DROP TABLE stats;
