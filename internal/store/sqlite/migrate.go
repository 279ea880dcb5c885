package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"strings"

	"github.com/pressly/goose/v3"

	"hostler.dev/hostler/internal/store"
)

// parts are SQLite's words for the ${NAME} parts of the migrations.
var parts = strings.NewReplacer(
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
func migrate(ctx context.Context, pool *sql.DB, folder string) error {
	p, err := Migrator(pool, folder)
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// Migrator is the goose provider for a folder of store.Migrations.
func Migrator(pool *sql.DB, folder string) (*goose.Provider, error) {
	files, err := fs.Sub(store.Migrations, "migrations/"+folder)
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectSQLite3, pool, store.Rendered(files, parts.Replace), goose.WithDisableGlobalRegistry(true))
}
