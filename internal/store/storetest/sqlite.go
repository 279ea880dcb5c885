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
	files, err := migratedFiles()
	if err != nil {
		tb.Fatalf("SQLite for tests: %v", err)
	}
	dir = tb.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

func openSQLite(tb testing.TB, c *Clock) *store.Store {
	tb.Helper()
	dir := SQLite(tb)
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
