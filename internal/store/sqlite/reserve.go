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

// defaultReserve is the space set aside for finishing what runs when the disk is full.
const defaultReserve = 16 << 20

// reserve is a file that takes up space, and is deleted when the disk is full.
type reserve struct {
	mu   sync.Mutex
	path string
	size int64
	held bool
}

// hold takes the space, if the disk has as much again besides.
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
		return fmt.Errorf("set space aside: %d bytes are free, %d are needed: %w", free, 2*r.size, errors.Join(err, unix.ENOSPC))
	}
	if err := allocate(r.path, r.size); err != nil {
		return fmt.Errorf("set space aside: %w", errors.Join(err, os.Remove(r.path)))
	}
	r.held = true
	return nil
}

// release gives the space back and reports whether there was any.
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

// allocate writes the file, because not every file system can set space aside
// without writing; the zeros of a sparse file would reserve nothing.
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

// giveUpReserve frees the reserve on a full disk. From then on new work is refused.
func (db *DB) giveUpReserve() bool {
	if db.full.CompareAndSwap(false, true) {
		db.opt.Log.Error("the disk is full: new work is refused until there is space again", "path", db.path)
	}
	return db.reserve.release()
}

// regainReserve accepts new work again once the reserve is back.
func (db *DB) regainReserve() {
	if err := db.reserve.hold(); err != nil {
		return // still full
	}
	db.full.Store(false)
	db.opt.Log.Info("the disk has space again: new work is accepted", "path", db.path)
}

func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), nil //nolint:gosec,unconvert // types differ between systems
}

// diskFree is the share of a folder's disk that is free; 1 when it cannot be
// known.
func diskFree(dir string) float64 {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Blocks == 0 {
		return 1
	}
	return float64(st.Bavail) / float64(st.Blocks)
}
