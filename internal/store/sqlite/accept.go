package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// This file decides whether the database accepts new work: not while its disk is full or
// cannot be written, and never again once its file is gone.

// Accepts implements sqldb.Driver.
func (db *DB) Accepts() error {
	if err := db.inPlace(); err != nil {
		return err
	}
	if db.full.Load() {
		return errFull(nil)
	}
	if failed := db.failed.Load(); failed != nil {
		return *failed
	}
	return nil
}

// inPlace returns an error if the path does not lead to the open file: what is committed
// now would be lost with it.
func (db *DB) inPlace() error {
	fi, err := os.Stat(db.path)
	switch {
	case err == nil && (db.file == nil || os.SameFile(fi, db.file)):
		return nil
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return hostler.Errorf(hostler.CodeUnavailable,
			"the database %s was deleted or replaced while the server runs, which accepts no more work: "+
				"stop the server, restore the data folder, and start it again",
			"数据库 %s 在服务运行期间被删除或替换，服务不再接受新作业：请停止服务，恢复数据目录后重新启动", db.path)
	}
	return hostler.Errorf(hostler.CodeUnavailable, "the database %s cannot be reached: %v",
		"无法访问数据库 %s：%v", db.path, err)
}

// noteWrite remembers that a group could not be written, until [DB.Probe] succeeds: a
// group that wrote nothing does not tell that the next one can be written.
func (db *DB) noteWrite(err error) {
	if !unwritable(err) {
		return
	}
	// What is refused from now on is not ambiguous, whatever becomes of this group.
	if a, is := errors.AsType[*sqldb.AmbiguousError](err); is {
		err = a.Err
	}
	reason := mapError(err)
	if db.readOnly() {
		reason = errReadOnly(err)
	}
	db.failed.Store(&reason)
}

// readOnly reports whether the folder is on a file system that is read-only, as Linux makes
// one after an error. SQLite sees only that it cannot write to the files that it has open.
func (db *DB) readOnly() bool {
	path := db.path + "-probe"
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		err = errors.Join(f.Close(), os.Remove(path))
	}
	return errors.Is(err, unix.EROFS)
}

// Probe implements sqldb.Driver. It writes the header of the file, and nothing in it that
// anybody reads.
func (db *DB) Probe(ctx context.Context) error {
	if err := db.inPlace(); err != nil {
		return err
	}
	err := db.InTx(ctx, func(sqldb.Conn) error {
		return db.writer.script(ctx, fmt.Sprintf(`PRAGMA user_version = %d`, db.probes.Add(1)&0x7fffffff))
	})
	if err == nil {
		db.failed.Store(nil)
	} else if failed := db.failed.Load(); failed != nil {
		return *failed
	}
	if err != nil {
		return err
	}
	return db.Accepts()
}

// checkEmpty refuses an empty main database, which SQLite takes for a new one, beside
// files that say that this is no fresh installation. A first start that was killed leaves
// an empty file too, but no output beside it.
func (db *DB) checkEmpty() error {
	fi, err := os.Stat(db.path)
	if err != nil || fi.Size() > 0 || db.opt.migrations != "main" {
		return nil
	}
	output := strings.TrimSuffix(db.path, filepath.Ext(db.path)) + "-output.db"
	for _, file := range []string{output, filepath.Join(filepath.Dir(db.path), "master.key"), db.path + "-wal"} {
		if fi, err := os.Stat(file); err == nil && fi.Size() > 0 {
			return hostler.Errorf(hostler.CodeConflict,
				"the database %s is empty, but %s beside it is not: this is no new installation; restore a backup, "+
					"or remove both to start anew",
				"数据库 %s 为空，但旁边的 %s 不为空，这不是全新安装：请恢复备份，或删除两者以重新开始", db.path, file)
		}
	}
	return nil
}
