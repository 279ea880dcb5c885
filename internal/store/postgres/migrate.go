package postgres

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store/schema"
)

// hot holds the settings of small tables with frequent updates: free space on each
// page for heap-only tuple (HOT) updates, and an aggressive autovacuum.
const hot = ` WITH (fillfactor = 70, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_analyze_threshold = 500, autovacuum_analyze_scale_factor = 0.1, autovacuum_vacuum_cost_delay = 0)`

const auditAppendOnly = `-- +goose StatementBegin
CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the audit is append-only';
END
$$;
-- +goose StatementEnd
CREATE TRIGGER audit_keep BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_append_only();
CREATE TRIGGER audit_keep_all BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only();`

const auditDrop = `DROP TABLE audit;
DROP FUNCTION audit_append_only();`

// auditChain is a set of triggers: they queue each row of the audit for the chain, and
// let rows be deleted only up to the position that the newest checkpoint calls archived.
const auditChain = `-- +goose StatementBegin
CREATE FUNCTION audit_queue() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO audit_pending (audit) VALUES (NEW.id);
  RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER audit_queue AFTER INSERT ON audit FOR EACH ROW EXECUTE FUNCTION audit_queue();
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    IF EXISTS (SELECT 1 FROM audit_chain c WHERE c.audit = OLD.id
      AND c.pos <= (SELECT k.base FROM audit_checkpoint k ORDER BY k.seq DESC LIMIT 1)) THEN
      RETURN OLD;
    END IF;
  END IF;
  RAISE EXCEPTION 'the audit is append-only';
END
$$;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION audit_chain_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE last audit_checkpoint;
BEGIN
  IF TG_OP = 'DELETE' THEN
    SELECT * INTO last FROM audit_checkpoint ORDER BY seq DESC LIMIT 1;
    IF OLD.pos <= last.base AND to_jsonb(OLD)->>'seq' IS DISTINCT FROM last.seq::text THEN
      RETURN OLD;
    END IF;
  END IF;
  RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER audit_chain_keep BEFORE UPDATE OR DELETE ON audit_chain
  FOR EACH ROW EXECUTE FUNCTION audit_chain_append_only();
CREATE TRIGGER audit_chain_keep_all BEFORE TRUNCATE ON audit_chain
  FOR EACH STATEMENT EXECUTE FUNCTION audit_chain_append_only();
CREATE TRIGGER audit_checkpoint_keep BEFORE UPDATE OR DELETE ON audit_checkpoint
  FOR EACH ROW EXECUTE FUNCTION audit_chain_append_only();
CREATE TRIGGER audit_checkpoint_keep_all BEFORE TRUNCATE ON audit_checkpoint
  FOR EACH STATEMENT EXECUTE FUNCTION audit_chain_append_only();`

const auditChainDrop = `DROP TRIGGER audit_checkpoint_keep_all ON audit_checkpoint;
DROP TRIGGER audit_checkpoint_keep ON audit_checkpoint;
DROP TRIGGER audit_chain_keep_all ON audit_chain;
DROP TRIGGER audit_chain_keep ON audit_chain;
DROP FUNCTION audit_chain_append_only();
DROP TRIGGER audit_queue ON audit;
DROP FUNCTION audit_queue();
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the audit is append-only';
END
$$;
-- +goose StatementEnd`

// parts replaces the ${NAME} placeholders of the migrations by PostgreSQL's SQL.
var parts = strings.NewReplacer(
	"${AUTO_ID}", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
	"${INT}", "BIGINT",
	"${BYTES}", "BYTEA",
	"${NO_ROWID}", "",
	"${HOT}", hot,
	"${HOT_NO_ROWID}", hot,
	"${HISTORY}", "done",
	"${HISTORY_ID}", "BIGINT NOT NULL",
	"${HISTORY_KEY}", ",\n  PRIMARY KEY (id, ended_at)",
	"${HISTORY_PARTITIONED}", " PARTITION BY RANGE (ended_at)",
	"${HISTORY_VIEW}", "",
	"${HISTORY_VIEW_DROP}", "",
	"${DRIVER_TABLES}", "CREATE SEQUENCE id_seq CYCLE MINVALUE 0 MAXVALUE 9007199254740991;",
	"${DRIVER_TABLES_DROP}", "DROP SEQUENCE id_seq;",
	"${WORKER_LEVEL_REQUIRED}", "ALTER TABLE worker ALTER COLUMN level DROP DEFAULT;",
	"${HISTORY_PARTS}", "",
	"${HISTORY_PARTS_DROP}", "",
	"${AUDIT_APPEND_ONLY}", auditAppendOnly,
	"${AUDIT_DROP}", auditDrop,
	"${AUDIT_CHAIN}", auditChain,
	"${AUDIT_CHAIN_DROP}", auditChainDrop,
)

// own holds the migrations of the tables that only this driver uses.
//
//go:embed migrations
var own embed.FS

// migrationSet is a folder of migrations and the table in which goose records the
// applied ones.
type migrationSet struct {
	files fs.FS
	dir   string
	table string
}

// migrationSets returns the store's migrations and the driver's.
func migrationSets(store fs.FS) []migrationSet {
	return []migrationSet{
		{store, "main", schema.VersionTable},
		{store, "log", "goose_log_version"},
		{own, "migrations", "goose_postgres_version"},
	}
}

// migrate brings the database up to date. Servers that start at the same time run it
// one after another.
func (db *DB) migrate(ctx context.Context, cfg *pgx.ConnConfig) error {
	return locked(ctx, cfg, func(conn *sql.DB) error {
		program, err := db.program(conn)
		if err != nil {
			return err
		}
		if err := program.Enter(ctx, conn); err != nil {
			return err
		}
		err = eachProvider(conn, migrationSets(db.opt.Schema), func(p *goose.Provider) error {
			_, err := p.Up(ctx)
			return err
		})
		if err != nil {
			return err
		}
		return db.register(ctx, conn)
	})
}

// checkLevel is migrate for a database that must stay as it is.
func (db *DB) checkLevel(ctx context.Context, cfg *pgx.ConnConfig) error {
	conn := stdlib.OpenDB(*cfg)
	defer conn.Close()
	program, err := db.program(conn)
	if err != nil {
		return err
	}
	return program.Check(ctx, conn)
}

// locked runs fn while it holds the migration lock, without statement and lock
// timeouts.
func locked(ctx context.Context, cfg *pgx.ConnConfig, fn func(db *sql.DB) error) error {
	cfg = cfg.Copy()
	cfg.RuntimeParams["statement_timeout"] = "0"
	cfg.RuntimeParams["lock_timeout"] = "0"
	cfg.RuntimeParams["idle_in_transaction_session_timeout"] = "0"
	db := stdlib.OpenDB(*cfg)
	defer db.Close()
	c, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect to migrate: %w", err)
	}
	defer c.Close() // db.Close then ends the session, which releases the lock
	if _, err := c.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, int64(migrateLock)); err != nil {
		return fmt.Errorf("lock migrations: %w", err)
	}
	if err := fn(db); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	_, err = c.ExecContext(ctx, `SELECT pg_advisory_unlock($1)`, int64(migrateLock))
	return err
}

func eachProvider(db *sql.DB, sets []migrationSet, fn func(p *goose.Provider) error) error {
	for _, set := range sets {
		files, err := fs.Sub(set.files, set.dir)
		if err != nil {
			return err
		}
		versions, err := database.NewStore(goose.DialectPostgres, set.table)
		if err != nil {
			return err
		}
		p, err := goose.NewProvider(goose.DialectCustom, db, sqldb.Rendered(files, parts.Replace),
			goose.WithStore(versions), goose.WithDisableGlobalRegistry(true))
		if err != nil {
			return err
		}
		if err := fn(p); err != nil {
			return err
		}
	}
	return nil
}

// MigrateDown reverts every migration. All data is lost.
func MigrateDown(ctx context.Context, dsn string) error {
	cfg, err := config(dsn, withDefaults(Options{}))
	if err != nil {
		return err
	}
	sets := migrationSets(schema.Migrations)
	slices.Reverse(sets)
	return mapError(locked(ctx, cfg.ConnConfig, func(db *sql.DB) error {
		err := eachProvider(db, sets, func(p *goose.Provider) error {
			_, err := p.DownTo(ctx, 0)
			return err
		})
		if err != nil {
			return err
		}
		_, err = db.ExecContext(ctx, `DROP TABLE IF EXISTS `+schema.FloorTable)
		return err
	}))
}
