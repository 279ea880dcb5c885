package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/pressly/goose/v3"

	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store/schema"
)

// parts are SQLite's words for the ${NAME} parts of the migrations.
var parts = strings.NewReplacer(
	"${AUTO_ID}", "INTEGER PRIMARY KEY",
	"${INT}", "INTEGER",
	"${BYTES}", "BLOB",
	"${HOT}", "",
	"${HOT_NO_ROWID}", " WITHOUT ROWID",
	"${NO_ROWID}", " WITHOUT ROWID",
	"${DONE}", doneDDL(),
	"${DONE_DROP}", "DROP VIEW done; DROP TABLE segment;",
	"${AUDIT_APPEND_ONLY}", `-- +goose StatementBegin
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;
-- +goose StatementEnd`,
	"${AUDIT_DROP}", "DROP TABLE audit;",
)

func fill(sql string) string { return columnParts.Replace(sql) }

// columnParts fills in the words that a segment's columns use.
var columnParts = strings.NewReplacer("${INT}", "INTEGER", "${BYTES}", "BLOB")

func doneDDL() string {
	ddl := append([]string{
		"CREATE TABLE segment (n INTEGER PRIMARY KEY, created_at INTEGER NOT NULL, sealed_at INTEGER NOT NULL)",
	}, segmentDDL(1)...)
	ddl = append(ddl, viewDDL([]int64{1}),
		"INSERT INTO segment (n, created_at, sealed_at) VALUES (1, CAST(unixepoch('subsec') * 1000000 AS INTEGER), 0)")
	return strings.Join(ddl, ";\n") + ";"
}

// migrate brings the database to the newest schema.
func migrate(ctx context.Context, dsn, folder string) error {
	return migrating(dsn, folder, func(pool *sql.DB, p *goose.Provider) error {
		var v string
		if err := pool.QueryRowContext(ctx, `SELECT sqlite_version()`).Scan(&v); err != nil {
			return err
		}
		if err := checkVersion(v); err != nil {
			return err
		}
		_, err := p.Up(ctx)
		return err
	})
}

// MigrateDown undoes every migration of the main database at path: all data is
// lost.
func MigrateDown(ctx context.Context, path string) error {
	return migrating(newDB(path, Options{}).dsn(writerPragmas), "main", func(pool *sql.DB, p *goose.Provider) error {
		if err := dropSegments(ctx, pool); err != nil {
			return err
		}
		_, err := p.DownTo(ctx, 0)
		return err
	})
}

// dropSegments drops what a migration cannot name, and leaves the view.
func dropSegments(ctx context.Context, pool *sql.DB) error {
	r, err := pool.QueryContext(ctx, `SELECT n FROM segment`)
	if err != nil {
		return err
	}
	defer r.Close()
	drops := []string{"DROP VIEW done", "CREATE VIEW done AS SELECT 1"}
	for r.Next() {
		var n int64
		if err := r.Scan(&n); err != nil {
			return err
		}
		drops = append(drops, "DROP TABLE "+segmentName(n))
	}
	if err := errors.Join(r.Err(), r.Close()); err != nil {
		return err
	}
	_, err = pool.ExecContext(ctx, strings.Join(drops, ";"))
	return err
}

// migrating runs fn with the goose provider for a folder of schema.Migrations.
func migrating(dsn, folder string, fn func(pool *sql.DB, p *goose.Provider) error) (err error) {
	pool, err := sql.Open("sqlite", dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pool.Close()) }()
	pool.SetMaxOpenConns(1)
	files, err := fs.Sub(schema.Migrations, folder)
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, pool, sqldb.Rendered(files, parts.Replace), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	if err := fn(pool, p); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}
