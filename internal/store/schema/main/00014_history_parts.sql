-- +goose Up

-- Jobs are listed by project, newest first, with at most one further condition.
DROP INDEX ${HISTORY}_state;
CREATE INDEX ${HISTORY}_state ON ${HISTORY} (project, state, id) WHERE state <> 'succeeded';
CREATE INDEX ${HISTORY}_project ON ${HISTORY} (project, id);
CREATE INDEX ${HISTORY}_queue ON ${HISTORY} (project, queue, id);
CREATE INDEX ${HISTORY}_action ON ${HISTORY} (project, action, id);
CREATE INDEX job_project ON job (project, id);
CREATE INDEX job_asset ON job (asset, id) WHERE asset > 0;

-- history_part lists the segments or partitions of the history in the order of since, a
-- time on PostgreSQL and the number of the segment on SQLite. From sealed_at on, unless
-- that is 0, a part gets no more rows.
${HISTORY_PARTS}

-- The smallest and the largest id of each project in a part that gets no more rows, so
-- that reads pass over parts. Project 0 stands for all; its row says that the part has
-- been looked at.
CREATE TABLE history_span (
  project ${INT} NOT NULL,
  part TEXT NOT NULL,
  min_id ${INT} NOT NULL,
  max_id ${INT} NOT NULL,
  PRIMARY KEY (project, part)
)${NO_ROWID};
CREATE INDEX history_span_part ON history_span (part);

-- +goose Down
DROP TABLE history_span;
${HISTORY_PARTS_DROP}
DROP INDEX job_asset;
DROP INDEX job_project;
DROP INDEX ${HISTORY}_action;
DROP INDEX ${HISTORY}_queue;
DROP INDEX ${HISTORY}_project;
DROP INDEX ${HISTORY}_state;
CREATE INDEX ${HISTORY}_state ON ${HISTORY} (state, id) WHERE state <> 'succeeded';
