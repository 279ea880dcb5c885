package schema

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// Level is how far a program knows the data.
type Level struct {
	// Known is the number of the newest migration of the folder main.
	Known int64
	// Floor is the oldest Known that works on data with all of these migrations.
	Floor int64
}

// floorLine is how a migration declares the oldest level that works on its data.
var floorLine = regexp.MustCompile(`(?m)^-- floor: (\d+)$`)

// LevelOf reads the level of migrations. A migration without a declared floor is its own.
func LevelOf(migrations fs.FS) (Level, error) {
	var l Level
	files, err := fs.Glob(migrations, "main/*.sql")
	if err != nil {
		return l, err
	}
	for _, file := range files {
		number, _, _ := strings.Cut(path.Base(file), "_")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return l, fmt.Errorf("migration %s: %w", file, err)
		}
		text, err := fs.ReadFile(migrations, file)
		if err != nil {
			return l, err
		}
		floor := n
		if m := floorLine.FindSubmatch(text); m != nil {
			if floor, err = strconv.ParseInt(string(m[1]), 10, 64); err != nil || floor > n {
				return l, fmt.Errorf("migration %s: floor %s is not a level up to its own", file, m[1])
			}
		}
		l.Known, l.Floor = max(l.Known, n), max(l.Floor, floor)
	}
	return l, nil
}

// Current is the level of [Migrations].
var Current = sync.OnceValue(func() Level {
	l, err := LevelOf(Migrations)
	if err != nil {
		panic(err) // the files are part of the program, and a test reads them
	}
	return l
})

// FloorTable holds the floor of the data, and the version that raised it, in one row.
const FloorTable = "schema_floor"

// VersionTable is where goose records the applied migrations of the folder main.
const VersionTable = "goose_main_version"

// formerTable had that purpose in versions that did not check the floor. It now has a row
// that they cannot read, so that their start fails with the row's text.
const formerTable = "goose_db_version"

// Program is a program that opens a database.
type Program struct {
	Level

	Dialect sqldb.Dialect
	Version string
	// Older lists the live servers that know less than a level, as people name them;
	// nil where no other server can use the data.
	Older func(ctx context.Context, level int64) ([]string, error)
}

// OlderServersError reports that servers are live that cannot work with the data that
// the starting one would make.
type OlderServersError struct {
	Servers []string
	Level   int64
}

func (e *OlderServersError) Error() string { return e.Text().EN }

// Text names the servers.
func (e *OlderServersError) Text() hostler.Text {
	return hostler.Textf(
		"servers of an older version are running, which cannot work with the data of this one (level %[2]d): "+
			"stop %[1]s, then start this server again",
		"仍有旧版本的服务在运行，它们无法使用本版本的数据（级别 %[2]d）：请先停止 %[1]s，再启动本服务",
		strings.Join(e.Servers, ", "), e.Level)
}

// Check returns an error if the data requires a newer program. Call it before any other
// use of the database.
func (p *Program) Check(ctx context.Context, db *sql.DB) error {
	_, err := p.check(ctx, db)
	return err
}

// check returns the floor of the data; 0 before the first.
func (p *Program) check(ctx context.Context, db *sql.DB) (floor int64, err error) {
	if has, err := p.hasTable(ctx, db, FloorTable); err != nil || !has {
		return 0, err
	}
	var by string
	err = db.QueryRowContext(ctx, `SELECT level, raised_by FROM `+FloorTable).Scan(&floor, &by)
	if err != nil {
		return 0, fmt.Errorf("read the level of the data: %w", err)
	}
	if floor > p.Known {
		return floor, Outdated(p.Version, by, floor)
	}
	return floor, nil
}

// Outdated is the error of a program that the data does not allow.
func Outdated(version, by string, floor int64) error {
	return hostler.Errorf(hostler.CodeConflict,
		"Hostler %[1]s is too old for this data, which Hostler %[2]s has upgraded (level %[3]d): "+
			"start Hostler %[2]s or newer, or restore a backup from before the upgrade",
		"Hostler %[1]s 版本过旧，此数据已由 Hostler %[2]s 升级（级别 %[3]d）："+
			"请启动 Hostler %[2]s 或更新版本，或恢复升级前的备份", version, by, floor)
}

// Enter checks the data, and makes programs below the floor refuse it from now on. Call
// it before the migrations, while no other program can do the same.
func (p *Program) Enter(ctx context.Context, db *sql.DB) error {
	floor, err := p.check(ctx, db)
	if err != nil {
		return err
	}
	if p.Floor > floor {
		if err := p.raise(ctx, db); err != nil {
			return err
		}
	}
	return p.adopt(ctx, db)
}

// raise raises the floor. No worker is live that may go on then.
func (p *Program) raise(ctx context.Context, db *sql.DB) error {
	used, err := p.hasTable(ctx, db, "worker")
	if err != nil {
		return err
	}
	if used && p.Older != nil {
		older, err := p.Older(ctx, p.Floor)
		if err != nil {
			return err
		}
		if len(older) > 0 {
			return &OlderServersError{older, p.Floor}
		}
	}
	statements := []string{
		`CREATE TABLE IF NOT EXISTS ` + FloorTable + ` (level BIGINT NOT NULL, raised_by TEXT NOT NULL)`,
		`DELETE FROM ` + FloorTable,
		fmt.Sprintf(`INSERT INTO %s (level, raised_by) VALUES (%d, '%s')`,
			FloorTable, p.Floor, strings.ReplaceAll(p.Version, "'", "''")),
	}
	if used && p.Older != nil {
		statements = append(statements, p.fence(ctx, db))
	}
	return inTx(ctx, db, statements)
}

// fence is the statement that fences the workers below the floor. Those of versions
// before the column level are all below it.
func (p *Program) fence(ctx context.Context, db *sql.DB) string {
	const all = `UPDATE worker SET dead = 1 WHERE dead = 0`
	rows, err := db.QueryContext(ctx, `SELECT level FROM worker WHERE 1 = 0`)
	if err != nil {
		return all
	}
	defer rows.Close()
	if rows.Err() != nil {
		return all
	}
	return fmt.Sprintf(all+` AND level < %d`, p.Floor)
}

func inTx(ctx context.Context, db *sql.DB, statements []string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // without effect after the commit
	for _, statement := range statements {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("set the level of the data: %w", err)
		}
	}
	return tx.Commit()
}

// adopt renames the table of the applied migrations, and leaves one under its former name
// that earlier versions cannot read.
func (p *Program) adopt(ctx context.Context, db *sql.DB) error {
	if has, err := p.hasTable(ctx, db, VersionTable); err != nil || has {
		return err
	}
	const text = "this data belongs to a newer Hostler: start the version that used it last, " +
		"or restore a backup from before the upgrade / " +
		"此数据属于更新版本的 Hostler：请启动最近使用它的版本，或恢复升级前的备份"
	statements := []string{
		`CREATE TABLE ` + formerTable + ` (id INTEGER PRIMARY KEY, version_id TEXT NOT NULL, is_applied BOOLEAN NOT NULL,
  tstamp TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)`,
		`INSERT INTO ` + formerTable + ` (id, version_id, is_applied) VALUES (1, '0', TRUE), (2, '` + text + `', TRUE)`,
	}
	has, err := p.hasTable(ctx, db, formerTable)
	if err != nil {
		return err
	}
	if has {
		statements = slices.Insert(statements, 0, `ALTER TABLE `+formerTable+` RENAME TO `+VersionTable)
	}
	return inTx(ctx, db, statements)
}

func (p *Program) hasTable(ctx context.Context, db *sql.DB, name string) (has bool, err error) {
	exists := `SELECT count(*) > 0 FROM sqlite_master WHERE type = 'table' AND name = ?`
	if p.Dialect == sqldb.Postgres {
		exists = `SELECT count(*) > 0 FROM pg_tables WHERE schemaname = current_schema() AND tablename = $1`
	}
	err = db.QueryRowContext(ctx, exists, name).Scan(&has)
	return has, err
}
