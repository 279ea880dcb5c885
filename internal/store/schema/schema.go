// Package schema holds the tables of the store as goose migrations, which the
// drivers run when they open a database.
//
// # Layout
//
// The folder main has the migrations of the database, log those of the job output
// (a second file on SQLite, the same database on PostgreSQL). They are written once;
// each driver fills in the ${NAME} parts of its dialect.
package schema

import "embed"

// Migrations holds the migrations: main/*.sql and log/*.sql.
//
//go:embed main log
var Migrations embed.FS

// DoneColumns is the body of the history table, shared by both dialects: a
// segment on SQLite, the partitioned table on PostgreSQL. Its state CHECK lists
// the terminal states.
const DoneColumns = `
  id ${INT} NOT NULL,
  project ${INT} NOT NULL,
  run ${INT} NOT NULL,
  queue TEXT NOT NULL,
  action TEXT NOT NULL,
  asset ${INT} NOT NULL,
  asset_name TEXT NOT NULL,
  lane_key TEXT NOT NULL,
  lane_lim ${INT} NOT NULL,
  prio ${INT} NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('succeeded', 'failed', 'cancelled', 'expired')),
  attempt ${INT} NOT NULL,
  max_attempts ${INT} NOT NULL,
  backoff TEXT NOT NULL,
  timeout ${INT} NOT NULL,
  on_lost TEXT NOT NULL,
  on_unknown TEXT NOT NULL,
  on_retry TEXT NOT NULL,
  run_at ${INT} NOT NULL,
  expires_at ${INT} NOT NULL,
  retry_of ${INT} NOT NULL,
  created_by TEXT NOT NULL,
  created_at ${INT} NOT NULL,
  queued_at ${INT} NOT NULL,
  started_at ${INT} NOT NULL,
  ended_at ${INT} NOT NULL,
  worker ${INT} NOT NULL,
  fence ${INT} NOT NULL,
  args TEXT NOT NULL,
  result TEXT NOT NULL,
  error TEXT NOT NULL,
  output ${BYTES} NOT NULL`

// DoneIndexes are the indexes of the history table or of one of its segments;
// ${T} is its name. All but the first are partial, so that the common row (a
// success without run) costs little.
const DoneIndexes = `
CREATE INDEX ${T}_run ON ${T} (run, id) WHERE run <> 0;
CREATE INDEX ${T}_asset ON ${T} (asset, id) WHERE asset <> 0;
CREATE INDEX ${T}_state ON ${T} (state, id) WHERE state <> 'succeeded';`
