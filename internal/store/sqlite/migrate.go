package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store/schema"
)

// parts replaces the ${NAME} placeholders of the migrations by SQLite's SQL.
var parts = strings.NewReplacer(
	"${AUTO_ID}", "INTEGER PRIMARY KEY",
	"${INT}", "INTEGER",
	"${BYTES}", "BLOB",
	"${HOT}", "",
	"${HOT_NO_ROWID}", " WITHOUT ROWID",
	"${NO_ROWID}", " WITHOUT ROWID",
	"${HISTORY_ID}", "INTEGER PRIMARY KEY",
	"${HISTORY_KEY}", "",
	"${HISTORY_PARTITIONED}", "",
	"${HISTORY_VIEW}", "CREATE VIEW done AS SELECT * FROM done_1;",
	"${HISTORY_VIEW_DROP}", "DROP VIEW done;",
	"${DRIVER_TABLES}", `CREATE TABLE segment (n INTEGER PRIMARY KEY, created_at INTEGER NOT NULL,
  sealed_at INTEGER NOT NULL);
INSERT INTO segment (n, created_at, sealed_at) VALUES (1, CAST(unixepoch('subsec') * 1000000 AS INTEGER), 0);`,
	"${DRIVER_TABLES_DROP}", "DROP TABLE segment;",
	"${WORKER_LEVEL_REQUIRED}", "",
	"${HISTORY_PARTS}", "CREATE VIEW history_part AS SELECT 'done_' || n AS name, n AS since, sealed_at FROM segment;",
	"${HISTORY_PARTS_DROP}", "DROP VIEW history_part;",
	"${AUDIT_APPEND_ONLY}", `-- +goose StatementBegin
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;
-- +goose StatementEnd`,
	"${AUDIT_DROP}", "DROP TABLE audit;",
	"${AUDIT_CHAIN}", auditChain,
	"${AUDIT_CHAIN_DROP}", auditChainDrop,
)

// auditChain is a set of triggers: they queue each row of the audit for the chain, and
// let rows be deleted only up to the position that the newest checkpoint calls archived.
const auditChain = `-- +goose StatementBegin
CREATE TRIGGER audit_queue AFTER INSERT ON audit BEGIN INSERT INTO audit_pending (audit) VALUES (NEW.id); END;
-- +goose StatementEnd
DROP TRIGGER audit_no_delete;
-- +goose StatementBegin
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit WHEN NOT EXISTS (
  SELECT 1 FROM audit_chain c WHERE c.audit = OLD.id
  AND c.pos <= (SELECT k.base FROM audit_checkpoint k ORDER BY k.seq DESC LIMIT 1))
BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_chain_no_update BEFORE UPDATE ON audit_chain
BEGIN SELECT RAISE(ABORT, 'audit_chain is append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_chain_no_delete BEFORE DELETE ON audit_chain
WHEN OLD.pos > COALESCE((SELECT k.base FROM audit_checkpoint k ORDER BY k.seq DESC LIMIT 1), 0)
BEGIN SELECT RAISE(ABORT, 'audit_chain is append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_checkpoint_no_update BEFORE UPDATE ON audit_checkpoint
BEGIN SELECT RAISE(ABORT, 'audit_checkpoint is append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_checkpoint_no_delete BEFORE DELETE ON audit_checkpoint
WHEN OLD.pos > (SELECT k.base FROM audit_checkpoint k ORDER BY k.seq DESC LIMIT 1)
OR OLD.seq = (SELECT max(k.seq) FROM audit_checkpoint k)
BEGIN SELECT RAISE(ABORT, 'audit_checkpoint is append-only'); END;
-- +goose StatementEnd`

const auditChainDrop = `DROP TRIGGER audit_checkpoint_no_delete;
DROP TRIGGER audit_checkpoint_no_update;
DROP TRIGGER audit_chain_no_delete;
DROP TRIGGER audit_chain_no_update;
DROP TRIGGER audit_no_delete;
DROP TRIGGER audit_queue;
-- +goose StatementBegin
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;
-- +goose StatementEnd`

// historyWord is the placeholder for the name of each segment; see package schema.
const historyWord = "${HISTORY}"

// fill renders a migration: it replaces the placeholders and repeats every statement on
// the history for each segment of the database.
func fill(text string, segments []int64) string {
	var out, statement strings.Builder
	for line := range strings.Lines(parts.Replace(text)) {
		trimmed := strings.TrimSpace(line)
		if statement.Len() == 0 && (trimmed == "" || strings.HasPrefix(trimmed, "--")) {
			out.WriteString(line)
			continue
		}
		statement.WriteString(line)
		if strings.HasSuffix(trimmed, ";") {
			out.WriteString(forSegments(statement.String(), segments))
			statement.Reset()
		}
	}
	out.WriteString(statement.String())
	return out.String()
}

// forSegments repeats a statement for each segment. While segments are altered one after
// another their columns differ, which makes the view over them invalid. An ALTER
// therefore drops the view first and recreates it afterwards.
func forSegments(statement string, segments []int64) string {
	if !strings.Contains(statement, historyWord) {
		return statement
	}
	var out strings.Builder
	alters := strings.HasPrefix(statement, "ALTER ")
	if alters {
		out.WriteString(dropViewDDL(len(segments)))
	}
	for _, n := range segments {
		out.WriteString(strings.ReplaceAll(statement, historyWord, segmentName(n)))
	}
	if alters {
		out.WriteString(viewDDL(segments))
	}
	return out.String()
}

// listSegments returns the segments of a database. For a new database that is segment 1,
// which the first migration creates.
func listSegments(ctx context.Context, pool *sql.DB) ([]int64, error) {
	var tables int
	err := pool.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master WHERE name = 'segment'`).Scan(&tables)
	if err != nil || tables == 0 {
		return []int64{1}, err
	}
	r, err := pool.QueryContext(ctx, `SELECT n FROM segment ORDER BY n`)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var out []int64
	for r.Next() {
		var n int64
		if err := r.Scan(&n); err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, r.Err()
}

// migrate applies all pending migrations. It refuses data that a newer version needs.
func (db *DB) migrate(ctx context.Context) error {
	program, err := db.program()
	if err != nil {
		return err
	}
	return db.withProvider(ctx, func(pool *sql.DB, p *goose.Provider) error {
		var v string
		if err := pool.QueryRowContext(ctx, `SELECT sqlite_version()`).Scan(&v); err != nil {
			return err
		}
		if err := checkVersion(v); err != nil {
			return err
		}
		if program != nil {
			if err := program.Enter(ctx, pool); err != nil {
				return err
			}
		}
		_, err := p.Up(ctx)
		return err
	})
}

// checkLevel is migrate for data that must stay as it is: the caller must be able to use
// it without another migration.
func (db *DB) checkLevel(ctx context.Context) error {
	program, err := db.program()
	if err != nil || program == nil {
		return err
	}
	return db.withPool(readerPragmas, func(pool *sql.DB) error { return program.Check(ctx, pool) })
}

// program describes this program to the data; nil for the database of output, which has
// no level of its own.
func (db *DB) program() (*schema.Program, error) {
	if db.opt.migrations != "main" {
		return nil, nil
	}
	level := schema.Current()
	if db.opt.Schema != nil {
		var err error
		if level, err = schema.LevelOf(db.opt.Schema); err != nil {
			return nil, err
		}
	}
	return &schema.Program{Level: level, Dialect: sqldb.SQLite, Version: db.opt.Version}, nil
}

// MigrateDown reverts every migration of the main database at path. All data is lost.
func MigrateDown(ctx context.Context, path string) error {
	db := newDB(path, Options{migrations: "main"})
	return db.withProvider(ctx, func(pool *sql.DB, p *goose.Provider) error {
		if _, err := p.DownTo(ctx, 0); err != nil {
			return err
		}
		_, err := pool.ExecContext(ctx, `DROP TABLE IF EXISTS `+schema.FloorTable)
		return err
	})
}

// files returns the migrations of the database to open, main or log.
func (o *Options) files() (fs.FS, error) {
	if o.Schema == nil {
		return fs.Sub(schema.Migrations, o.migrations)
	}
	return fs.Sub(o.Schema, o.migrations)
}

// withPool runs fn with a connection of database/sql.
func (db *DB) withPool(pragmas string, fn func(pool *sql.DB) error) (err error) {
	pool, err := sql.Open("sqlite", db.dsn(pragmas))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pool.Close()) }()
	pool.SetMaxOpenConns(1)
	return fn(pool)
}

// withProvider runs fn with a goose provider for the migrations of the database.
func (db *DB) withProvider(ctx context.Context, fn func(pool *sql.DB, p *goose.Provider) error) error {
	files, err := db.opt.files()
	if err != nil {
		return err
	}
	table := goose.DefaultTablename
	if db.opt.migrations == "main" {
		table = schema.VersionTable
	}
	versions, err := database.NewStore(goose.DialectSQLite3, table)
	if err != nil {
		return err
	}
	return db.withPool(writerPragmas, func(pool *sql.DB) error {
		segments, err := listSegments(ctx, pool)
		if err != nil {
			return fmt.Errorf("list the segments of the history: %w", err)
		}
		rendered := sqldb.Rendered(files, func(text string) string { return fill(text, segments) })
		p, err := goose.NewProvider(goose.DialectCustom, pool, rendered,
			goose.WithStore(versions), goose.WithDisableGlobalRegistry(true))
		if err != nil {
			return err
		}
		if err := fn(pool, p); err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
		return nil
	})
}
