package sqlite

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store/schema"
)

// Backup copies databases into the folder dest while they are in use, each as a
// consistent snapshot. Pass the main database first, so that the output it refers to is
// in the later snapshot of the log database. Existing files are not replaced.
func Backup(ctx context.Context, dest string, dbs ...*DB) error {
	if err := os.MkdirAll(dest, 0o700); err != nil {
		return fmt.Errorf("create the backup folder: %w", err)
	}
	for _, db := range dbs {
		if err := db.Backup(ctx, dest); err != nil {
			return err
		}
	}
	return nil
}

// Backup copies this database into the folder dest, under its own file name.
func (db *DB) Backup(ctx context.Context, dest string) (err error) {
	target := filepath.Join(dest, filepath.Base(db.path))
	if _, err := os.Lstat(target); !errors.Is(err, fs.ErrNotExist) {
		return hostler.Errorf(hostler.CodeConflict, "%s already exists: choose an empty folder for the backup",
			"%s 已存在：请为备份选择空目录", target)
	}
	part := target + ".part"
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove an unfinished backup: %w", err)
	}
	c, err := db.connect(ctx, "")
	if err != nil {
		return fmt.Errorf("connect for the backup: %w", err)
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := createPrivate(part); err != nil {
		return fmt.Errorf("create the backup file: %w", err)
	}
	if err := c.script(ctx, `VACUUM INTO ?`, driver.NamedValue{Ordinal: 1, Value: part}); err != nil {
		return mapError(fmt.Errorf("back up %s: %w", db.path, errors.Join(err, os.Remove(part))))
	}
	if err := db.holdCopy(ctx, part); err != nil {
		return fmt.Errorf("back up %s: %w", db.path, err)
	}
	if err := syncFile(part); err != nil {
		return fmt.Errorf("back up %s: %w", db.path, err)
	}
	if err := os.Rename(part, target); err != nil {
		return fmt.Errorf("finish the backup: %w", err)
	}
	return syncFile(dest)
}

// holdCopy holds dispatch in a copy of the main database. Whoever restores it, and how,
// a server then starts none of the jobs that waited when the copy was made: they may
// have run since. A copy that is held already stays so.
func (db *DB) holdCopy(ctx context.Context, path string) (err error) {
	if db.opt.migrations != "main" {
		return nil
	}
	text, err := json.Marshal(schema.Hold{Reason: hostler.HoldBackup, Since: db.Now()})
	if err != nil {
		return err
	}
	// Without a WAL: the copy stays one file.
	c, err := newDB(path, db.opt).connect(ctx, "_pragma=journal_mode(DELETE)&_pragma=synchronous(FULL)")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	_, err = c.Exec(ctx, `INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING`,
		schema.HoldKey, string(text))
	return err
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Restore checks that the databases of a backup are intact and copies all regular files
// of the folder src to dst, which must be empty or not exist.
func Restore(ctx context.Context, src, dst string) error {
	files, err := regularFiles(src)
	if err != nil {
		return err
	}
	if err := checkBackup(ctx, src, files); err != nil {
		return err
	}
	if err := makeEmpty(dst); err != nil {
		return err
	}
	for _, name := range files {
		if err := restoreFile(ctx, filepath.Join(src, name), filepath.Join(dst, name)); err != nil {
			return fmt.Errorf("restore %s: %w", name, err)
		}
	}
	return syncFile(dst)
}

func regularFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the backup: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// restoreFile copies a file of a backup. A main database, perhaps of a version whose
// backups do not hold dispatch, appears under its name only after that.
func restoreFile(ctx context.Context, src, dst string) error {
	main, err := isMain(ctx, src)
	if err != nil || !main {
		return errors.Join(err, copyFile(src, dst))
	}
	part := dst + ".part"
	if err := copyFile(src, part); err != nil {
		return err
	}
	info, err := os.Stat(src)
	if err != nil {
		return err
	}
	// An older version made it when the file was written.
	db := newDB(part, Options{migrations: "main", Now: info.ModTime})
	if err := db.holdCopy(ctx, part); err != nil {
		return err
	}
	if err := syncFile(part); err != nil {
		return err
	}
	return os.Rename(part, dst)
}

// isMain reports whether a file of a backup is a main database.
func isMain(ctx context.Context, path string) (is bool, err error) {
	if !strings.HasSuffix(path, ".db") {
		return false, nil
	}
	c, err := newDB(path, Options{}).connect(ctx, "mode=ro&immutable=1")
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	n, err := c.number(`SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'meta'`)
	return n == 1, err
}

// checkBackup returns an error if the folder has no database or a damaged one.
func checkBackup(ctx context.Context, dir string, files []string) error {
	found := false
	for _, name := range files {
		if !strings.HasSuffix(name, ".db") {
			continue
		}
		found = true
		if err := checkFile(ctx, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	if !found {
		return hostler.Errorf(hostler.CodeNotFound, "%s contains no backup: give the folder of a backup",
			"%s 中没有备份：请指定备份所在目录", dir)
	}
	return nil
}

func checkFile(ctx context.Context, path string) (err error) {
	damaged := func(cause error) error {
		e := hostler.Errorf(hostler.CodeInvalid, "%s is damaged or not a database: use another backup",
			"%s 已损坏或不是数据库：请使用其他备份", path)
		e.Cause = cause
		return e
	}
	db := newDB(path, Options{})
	// immutable: SQLite creates no WAL or lock files in the backup folder.
	c, err := db.connect(ctx, "mode=ro&immutable=1")
	if err != nil {
		return damaged(err)
	}
	defer func() { err = errors.Join(err, c.close()) }()
	r, err := c.Query(ctx, `PRAGMA quick_check(1)`)
	if err != nil {
		return damaged(err)
	}
	defer r.Close()
	result := ""
	for r.Next() {
		if err := r.Scan(&result); err != nil {
			return damaged(err)
		}
	}
	if result != "ok" {
		return damaged(errors.Join(r.Err(), errors.New(result)))
	}
	return nil
}

// Inspection is what [Inspect] finds in a database.
type Inspection struct {
	// Damage is the first fault of the file; empty for none.
	Damage string
	// Partial reports that the time did not suffice to check all of it.
	Partial bool
	Hold    *schema.Hold // nil: dispatch is not held
	// SetAside counts the rows of events that could not be made into deliveries.
	SetAside int64
}

// Inspect checks the file of a main database, which a server may be using. It changes
// nothing in it.
func Inspect(ctx context.Context, path, version string, limit time.Duration) (out Inspection, err error) {
	db := newDB(path, Options{migrations: "main", Version: version})
	c, err := db.connect(ctx, readerPragmas)
	if err != nil {
		return out, mapError(err)
	}
	defer func() { err = errors.Join(mapError(err), c.close()) }()
	if err := db.checkLevel(ctx); err != nil {
		return out, err
	}
	if out.SetAside, err = c.countAside(); err != nil {
		return out, err
	}
	hold, err := c.texts(`SELECT value FROM meta WHERE key = '` + schema.HoldKey + `'`)
	if err != nil {
		return out, err
	}
	for _, text := range hold {
		out.Hold = &schema.Hold{}
		if err := json.Unmarshal([]byte(text), out.Hold); err != nil {
			return out, err
		}
	}
	check, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c.ctx = check
	result, err := c.texts(`PRAGMA quick_check(1)`)
	c.ctx = ctx
	switch {
	case check.Err() != nil:
		out.Partial = true
	case err != nil:
		return out, err
	case len(result) != 1 || result[0] != "ok":
		out.Damage = strings.Join(result, "; ")
	}
	return out, nil
}

func makeEmpty(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create the data folder: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read the data folder: %w", err)
	}
	if len(entries) > 0 {
		return hostler.Errorf(hostler.CodeConflict, "%s is not empty: restore into an empty data folder",
			"%s 不是空目录：请恢复到空的数据目录", dir)
	}
	return nil
}

func copyFile(src, dst string) (err error) {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Sync()
}

// countAside counts the events set aside; none in a database of a version before them.
func (c *conn) countAside() (int64, error) {
	table, err := c.texts(`SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'event_aside'`)
	if err != nil || len(table) == 0 {
		return 0, err
	}
	return c.number(`SELECT count(*) FROM event_aside`)
}
