package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store"
)

var smallArtefacts = store.ArtefactLimits{File: 1 << 20, Job: 3 << 19, Project: 2 << 20}

// eachArtefactFixture is eachFixture with one leased job.
func eachArtefactFixture(t *testing.T, fn func(t *testing.T, f *fixture, l hostler.Lease)) {
	t.Helper()
	eachFixture(t, func(t *testing.T, f *fixture) {
		f.enqueue(job())
		fn(t, f, f.claim(f.worker, 1)[0])
	})
}

func (f *fixture) storeFrom(ctx context.Context, l hostler.Lease, name string, r io.Reader) (hostler.Artefact, error) {
	f.t.Helper()
	return f.Store.StoreArtefact(ctx, f.worker, l.LeaseRef, hostler.ArtefactInput{Name: name}, smallArtefacts, r)
}

// storeArtefact stores an artefact of a size that is a multiple of 16.
func (f *fixture) storeArtefact(l hostler.Lease, name string, size int) (hostler.Artefact, []byte, error) {
	f.t.Helper()
	content := bytes.Repeat([]byte("0123456789abcde\n"), size/16)
	a, err := f.storeFrom(f.t.Context(), l, name, bytes.NewReader(content))
	return a, content, err
}

// artefacts lists what is visible of the artefacts of the project.
func (f *fixture) artefacts() (all []hostler.Artefact) {
	f.t.Helper()
	f.tx(func(tx *store.Tx) (err error) {
		all, err = tx.Artefacts(testProject, hostler.ArtefactFilter{}, 0, 100)
		return err
	})
	return all
}

func (f *fixture) prune() {
	f.t.Helper()
	if err := f.Store.PruneArtefacts(f.t.Context(), f.Now().Add(-24*time.Hour), 2); err != nil {
		f.t.Fatal(err)
	}
}

// left counts the rows and blocks of artefacts, and the bytes that count for the project.
func (f *fixture) left() (rows, blocks, bytes int64) {
	f.t.Helper()
	number := func(sql string) (n int64) {
		f.tx(func(tx *store.Tx) error {
			return tx.Each(sql, nil, func(r sqldb.Rows) error { return r.Scan(&n) })
		})
		return n
	}
	blocks, err := f.Store.CountArtefactBlocks(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	return number(`SELECT count(*) FROM artefact`), blocks, number(`SELECT COALESCE(sum(bytes), 0) FROM artefact_total`)
}

func (f *fixture) wantLeft(rows, blocks, bytes int64) {
	f.t.Helper()
	if r, b, n := f.left(); r != rows || b != blocks || n != bytes {
		f.t.Errorf("%d rows, %d blocks and %d bytes are left; want %d, %d and %d", r, b, n, rows, blocks, bytes)
	}
}

func TestArtefactsAreStoredAndRead(t *testing.T) {
	eachArtefactFixture(t, func(t *testing.T, f *fixture, l hostler.Lease) {
		a, content, err := f.storeArtefact(l, "dump.sql", 700_000)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content)
		if a.Size != int64(len(content)) || a.SHA256 != hex.EncodeToString(sum[:]) || a.Job != l.Job {
			t.Errorf("got %+v", a)
		}
		if err := f.finish(f.worker, l, hostler.OutcomeSucceeded); err != nil {
			t.Fatal(err)
		}
		f.prune() // deletes nothing that is in use
		r := f.Store.ReadArtefact(t.Context(), a)
		if err := iotest.TestReader(r, content); err != nil {
			t.Error(err)
		}
	})
}

// TestArtefactOfTheSameNameReplaces: an attempt that stores its file again, also after a lost
// answer, leaves one file, which counts once.
func TestArtefactOfTheSameNameReplaces(t *testing.T) {
	eachArtefactFixture(t, func(t *testing.T, f *fixture, l hostler.Lease) {
		for range 4 { // each is two thirds of the limit of the job
			if _, _, err := f.storeArtefact(l, "a", 1<<20); err != nil {
				t.Fatal(err)
			}
		}
		if got := f.artefacts(); len(got) != 1 {
			t.Errorf("got %d artefacts, want 1", len(got))
		}
		f.prune()
		f.wantLeft(1, 4, 1<<20)
	})
}

func TestArtefactLimits(t *testing.T) {
	eachArtefactFixture(t, func(t *testing.T, f *fixture, l hostler.Lease) {
		wantCode := func(err error, want hostler.Code) {
			t.Helper()
			if hostler.CodeOf(err) != want {
				t.Errorf("got %v, want %s", err, want)
			}
		}
		_, _, err := f.storeArtefact(l, "file", 1<<20+16)
		wantCode(err, hostler.CodeTooLarge)
		_, _, err = f.storeArtefact(l, "a", 1<<20)
		wantCode(err, "")
		_, _, err = f.storeArtefact(l, "job", 1<<20)
		wantCode(err, hostler.CodeTooLarge)
		f.enqueue(job())
		other := f.claim(f.worker, 1)[0]
		_, _, err = f.storeArtefact(other, "b", 1<<20)
		wantCode(err, "")
		_, _, err = f.storeArtefact(other, "project", 16)
		wantCode(err, hostler.CodeTooLarge)
		// An endless stream ends at the limit.
		_, err = f.storeFrom(t.Context(), l, "endless", endless{})
		wantCode(err, hostler.CodeTooLarge)
		if got := f.artefacts(); len(got) != 2 {
			t.Errorf("%d artefacts, want 2", len(got))
		}
		f.wantLeft(2, 8, 2<<20)
	})
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestStaleWorkerStoresNoArtefact: what a worker stores after its lease was lost does not
// appear, also when it began before that.
func TestStaleWorkerStoresNoArtefact(t *testing.T) {
	eachArtefactFixture(t, func(t *testing.T, f *fixture, l hostler.Lease) {
		stale := l
		stale.Fence--
		if _, _, err := f.storeArtefact(stale, "a", 16); hostler.CodeOf(err) != hostler.CodeStale {
			t.Errorf("an older fence: %v", err)
		}
		lost := readerFunc(func([]byte) (int, error) {
			if err := f.finish(f.worker, l, hostler.OutcomeSucceeded); err != nil {
				t.Fatal(err)
			}
			return 0, io.EOF
		})
		_, err := f.storeFrom(t.Context(), l, "a", lost)
		if hostler.CodeOf(err) != hostler.CodeStale {
			t.Errorf("a lease that ended meanwhile: %v", err)
		}
		f.wantLeft(0, 0, 0)
		err = f.Store.View(t.Context(), func(tx *store.Tx) error {
			_, err := tx.ArtefactForJob(f.worker, l.LeaseRef, 1)
			return err
		})
		if hostler.CodeOf(err) != hostler.CodeStale {
			t.Errorf("open: %v", err)
		}
	})
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestUnfinishedArtefactsAreDeleted leaves a file that a server was writing when it died.
func TestUnfinishedArtefactsAreDeleted(t *testing.T) {
	eachArtefactFixture(t, func(t *testing.T, f *fixture, l hostler.Lease) {
		died := errors.New("died")
		n := 0
		_, err := f.storeFrom(t.Context(), l, "a", readerFunc(func(p []byte) (int, error) {
			if n++; n == 3 {
				return 0, died
			}
			return len(p), nil
		}))
		if !errors.Is(err, died) {
			t.Fatal(err)
		}
		f.wantLeft(0, 0, 0)

		f.leaveUnfinished(l)
		if len(f.artefacts()) != 0 {
			t.Error("an unfinished artefact is visible")
		}
		f.prune()
		f.wantLeft(1, 3, 0) // while the lease lasts, it is written
		if err := f.finish(f.worker, l, hostler.OutcomeSucceeded); err != nil {
			t.Fatal(err)
		}
		f.prune()
		f.wantLeft(0, 0, 0)
	})
}

// leaveUnfinished leaves an artefact of three blocks as a server that died does: the read of
// the fourth one never returns.
func (f *fixture) leaveUnfinished(l hostler.Lease) {
	f.t.Helper()
	read, never := make(chan struct{}), make(chan struct{})
	n := 0
	go func() {
		_, _ = f.storeFrom(context.WithoutCancel(f.t.Context()), l, "a", readerFunc(func(p []byte) (int, error) {
			if n += len(p); n > 3*256<<10 {
				close(read)
				<-never
			}
			return len(p), nil
		}))
	}()
	<-read
}

// TestOldArtefactsAreDeleted: with the retention, and the space counts no more.
func TestOldArtefactsAreDeleted(t *testing.T) {
	eachArtefactFixture(t, func(t *testing.T, f *fixture, l hostler.Lease) {
		a, _, err := f.storeArtefact(l, "a", 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		f.Advance(23 * time.Hour)
		f.prune()
		if len(f.artefacts()) != 1 {
			t.Fatal("deleted before its time")
		}
		f.Advance(2 * time.Hour)
		f.prune()
		f.wantLeft(0, 0, 0)
		if _, err := f.Store.ReadArtefact(t.Context(), a).Read(make([]byte, 1)); hostler.CodeOf(err) != hostler.CodeNotFound {
			t.Errorf("a reader of a deleted artefact: %v", err)
		}
	})
}
