package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// defaultReserve is the disk space reserved for recording the results of running jobs
// when the disk is full.
const defaultReserve = 16 << 20

// reserve is a file that occupies disk space and is deleted when the disk is full.
type reserve struct {
	mu   sync.Mutex
	path string
	size int64
	held bool
}

// hold allocates the file if at least twice its size is free.
func (r *reserve) hold() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held || r.size <= 0 {
		return nil
	}
	if fi, err := os.Stat(r.path); err == nil && fi.Size() == r.size {
		r.held = true
		return nil
	}
	if free, err := freeBytes(filepath.Dir(r.path)); err != nil || free < 2*r.size {
		return fmt.Errorf("reserve disk space: %d bytes are free, %d are required: %w",
			free, 2*r.size, errors.Join(err, unix.ENOSPC))
	}
	if err := allocate(r.path, r.size); err != nil {
		return fmt.Errorf("reserve disk space: %w", errors.Join(err, os.Remove(r.path)))
	}
	r.held = true
	return nil
}

// release deletes the file and reports whether that freed space.
func (r *reserve) release() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.held {
		return false
	}
	r.held = false
	err := os.Remove(r.path)
	return err == nil || errors.Is(err, fs.ErrNotExist)
}

// allocate creates the file. Where the file system does not support preallocation it
// writes the file, because a sparse file would reserve nothing.
func allocate(path string, size int64) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := preallocate(f, size); err == nil {
		return nil
	}
	chunk := make([]byte, 1<<20)
	for size > 0 {
		n, err := f.Write(chunk[:min(size, int64(len(chunk)))])
		if err != nil {
			return err
		}
		size -= int64(n)
	}
	return nil
}

// releaseReserve frees the reserved space of a full disk and rejects new work until
// [DB.restoreReserve] succeeds.
func (db *DB) releaseReserve() bool {
	if db.full.CompareAndSwap(false, true) {
		db.opt.Log.Error("disk full; rejecting new work until space is freed", "path", db.path)
	}
	return db.reserve.release()
}

// restoreReserve reserves the space again and accepts new work if that succeeds.
func (db *DB) restoreReserve() {
	if err := db.reserve.hold(); err != nil {
		return // still full; rejected transactions report it
	}
	db.full.Store(false)
	db.opt.Log.Info("disk space available again; accepting new work", "path", db.path)
}

func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), nil //nolint:gosec,unconvert // types differ between systems
}

// diskFree returns the free share of a folder's disk, from 0 to 1, or 1 if it cannot be
// determined.
func diskFree(dir string) float64 {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Blocks == 0 {
		return 1
	}
	return float64(st.Bavail) / float64(st.Blocks)
}
