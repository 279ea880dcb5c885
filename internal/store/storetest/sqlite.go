package storetest

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/sqlite"
)

// Names of the two files of a store on SQLite.
const (
	mainFile = "hostler.db"
	logFile  = "log.db"
)

// migratedFiles returns empty, migrated databases by file name. They are made once per
// process: under the race detector the migrations take seconds.
var migratedFiles = sync.OnceValues(func() (files map[string][]byte, err error) {
	dir, err := os.MkdirTemp("", "hostler-sqlite-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	files = map[string][]byte{}
	for name, open := range map[string]func(string, sqlite.Options) (*sqlite.DB, error){
		mainFile: sqlite.Open, logFile: sqlite.OpenLog,
	} {
		path := filepath.Join(dir, name)
		db, err := open(path, sqlite.Options{})
		if err != nil {
			return nil, err
		}
		if err := db.Close(); err != nil {
			return nil, err
		}
		if files[name], err = os.ReadFile(path); err != nil {
			return nil, err
		}
	}
	return files, nil
})

// SQLite returns a fresh folder with empty, migrated databases.
func SQLite(tb testing.TB) (dir string) {
	tb.Helper()
	dir = tb.TempDir()
	fillSQLite(tb, dir)
	return dir
}

// fillSQLite puts empty, migrated databases into a folder, in place of what is there.
func fillSQLite(tb testing.TB, dir string) {
	tb.Helper()
	files, err := migratedFiles()
	if err != nil {
		tb.Fatalf("SQLite for tests: %v", err)
	}
	old, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		tb.Fatal(err)
	}
	for _, path := range old {
		if err := os.RemoveAll(path); err != nil {
			tb.Fatal(err)
		}
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
}

// openSQLite returns a function that opens an empty store, each time in the same folder:
// a test that asks for hundreds keeps the files of one.
func openSQLite() func(tb testing.TB, c *Clock) *store.Store {
	dir := ""
	return func(tb testing.TB, c *Clock) *store.Store {
		tb.Helper()
		if dir == "" {
			dir = tb.TempDir()
		}
		fillSQLite(tb, dir)
		return openSQLiteIn(tb, dir, c)
	}
}

func openSQLiteIn(tb testing.TB, dir string, c *Clock) *store.Store {
	tb.Helper()
	db, err := sqlite.Open(filepath.Join(dir, mainFile), sqlite.Options{Now: c.Now})
	if err != nil {
		tb.Fatalf("open sqlite: %v", err)
	}
	log, err := sqlite.OpenLog(filepath.Join(dir, logFile), sqlite.Options{Now: c.Now})
	if err != nil {
		tb.Fatalf("open sqlite log: %v", err)
	}
	s := store.New(db, log)
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("close: %v", err)
		}
	})
	return s
}
