// Package schema holds the tables of the store as goose migrations, which the
// drivers run when they open a database.
//
// # Layout
//
// The folder main has the migrations of the database, log those of the job output
// (a second file on SQLite, the same database on PostgreSQL). They are written once;
// each driver fills in the ${NAME} parts of its dialect:
//
//	${INT}, ${BYTES}, ${AUTO_ID}  column types
//	${HOT}, ${NO_ROWID}, …        storage options of a table
//	${HISTORY}                    the history of ended jobs, see below
//
// # History
//
// Ended jobs are in the history table done: partitions on PostgreSQL; segments
// done_1, done_2, … behind a view on SQLite. A statement that names ${HISTORY} runs
// once for the partitioned table, or once for every segment. The first migration
// creates the history; new partitions and segments copy the shape of the current
// one. Adding a column to live and ended jobs is therefore an ordinary migration:
//
//	ALTER TABLE job ADD COLUMN note TEXT NOT NULL DEFAULT '';
//	ALTER TABLE ${HISTORY} ADD COLUMN note TEXT NOT NULL DEFAULT '';
//
// The view history_part lists the parts, and history_span tells which ids they have.
//
// # Levels
//
// The number of the newest migration of main is the level of a program. Programs of a
// lower level do not open data that a migration has changed, and a newer server does not
// start beside live ones of a lower level, unless the migration says which level can go
// on, in a line of its own:
//
//	-- floor: 11
//
// See level.go and ADR 15.
//
// A migration that was released is never edited: it is what old databases have run.
package schema

import "embed"

// Migrations holds the migrations: main/*.sql and log/*.sql.
//
//go:embed main log
var Migrations embed.FS
