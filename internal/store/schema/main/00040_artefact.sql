-- +goose Up

-- Files that jobs produced. Their content is in artefact_block, with the job output.
CREATE TABLE artefact (
  id ${INT} PRIMARY KEY,
  project ${INT} NOT NULL,
  job ${INT} NOT NULL,
  fence ${INT} NOT NULL,
  run ${INT} NOT NULL,
  asset ${INT} NOT NULL,
  name TEXT NOT NULL,
  media_type TEXT NOT NULL,
  size ${INT} NOT NULL DEFAULT 0,
  sha256 TEXT NOT NULL DEFAULT '',
  state TEXT NOT NULL CHECK (state IN ('writing', 'stored', 'deleting')),
  created_at ${INT} NOT NULL,
  created_by TEXT NOT NULL
);
CREATE INDEX artefact_job ON artefact (job, id);
CREATE INDEX artefact_run ON artefact (run, id) WHERE run <> 0;
CREATE INDEX artefact_project ON artefact (project, id);
CREATE INDEX artefact_open ON artefact (id) WHERE state <> 'stored';

-- The bytes of the stored artefacts of a project.
CREATE TABLE artefact_total (
  project ${INT} NOT NULL PRIMARY KEY,
  bytes ${INT} NOT NULL
)${NO_ROWID};

-- +goose Down
DROP TABLE artefact_total;
DROP TABLE artefact;
