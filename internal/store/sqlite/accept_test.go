package sqlite_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/sqlite"
)

// TestDeletedFolderAcceptsNothing is a regression test: after "rm -rf data" a server went
// on to accept jobs, into deleted files, and a second one started on the same path.
func TestDeletedFolderAcceptsNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	unlock, err := sqlite.LockFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	db, err := sqlite.Open(filepath.Join(dir, "hostler.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	grow := func() error {
		return db.InTx(sqldb.Growing(t.Context()), func(sqldb.Conn) error { return nil })
	}
	if err := grow(); err != nil {
		t.Fatal(err)
	}
	if err := db.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := grow(); hostler.CodeOf(err) != hostler.CodeUnavailable {
		t.Errorf("new work in a deleted folder: %v", err)
	}
	if err := db.Probe(t.Context()); hostler.CodeOf(err) != hostler.CodeUnavailable {
		t.Errorf("the probe of a deleted folder: %v", err)
	}
	if again, err := sqlite.LockFolder(dir); err == nil {
		again()
		t.Error("a second server started on the path of the first")
	}
	unlock()
	again, err := sqlite.LockFolder(dir)
	if err != nil {
		t.Errorf("after the first server's end: %v", err)
	} else {
		again()
	}
}

// refusing is a database of output that takes no new work.
type refusing struct{ sqldb.Driver }

func (refusing) Accepts() error {
	return hostler.Errorf(hostler.CodeDiskFull, "full", "full")
}

func (r refusing) Probe(context.Context) error { return r.Accepts() }

// TestFullOutputRefusesJobs is a regression test: with a full output store jobs were
// accepted, and their output was lost.
func TestFullOutputRefusesJobs(t *testing.T) {
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "hostler.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	st := store.New(db, refusing{db})
	nothing := func(*store.Tx) error { return nil }
	if err := st.InGrowingTx(t.Context(), nothing); hostler.CodeOf(err) != hostler.CodeDiskFull {
		t.Errorf("new work: %v", err)
	}
	if err := st.InTx(t.Context(), nothing); err != nil {
		t.Errorf("the end of running work: %v", err)
	}
	if err := st.Probe(t.Context()); hostler.CodeOf(err) != hostler.CodeDiskFull {
		t.Errorf("the probe: %v", err)
	}
}

// TestEmptyDatabaseBesideData is a regression test: a database of zero length was taken
// for a new one although its key and its output were there.
func TestEmptyDatabaseBesideData(t *testing.T) {
	for _, beside := range []string{"hostler-output.db", "master.key", ""} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "hostler.db"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if beside != "" {
			if err := os.WriteFile(filepath.Join(dir, beside), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		db, err := sqlite.Open(filepath.Join(dir, "hostler.db"), sqlite.Options{})
		if err == nil {
			_ = db.Close()
		}
		if refused := hostler.CodeOf(err) == hostler.CodeConflict; refused != (beside != "") {
			t.Errorf("beside %q: %v", beside, err)
		}
	}
}

// TestLockOfAKilledServer takes the lock of a data folder that is released a moment later,
// as that of a server which was killed while it started a program.
func TestLockOfAKilledServer(t *testing.T) {
	dir := t.TempDir()
	release, err := sqlite.LockFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, release)
	again, err := sqlite.LockFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer again()
	if other, err := sqlite.LockFolder(dir); err == nil {
		other()
		t.Error("two servers lock one folder")
	}
}
