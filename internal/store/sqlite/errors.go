package sqlite

import (
	"context"
	"errors"

	sqlite "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// code is SQLite's extended result code of an error; 0 for any other error.
func code(err error) int {
	if se, ok := errors.AsType[*sqlite.Error](err); ok {
		return se.Code()
	}
	return 0
}

func isFull(err error) bool { return code(err)&0xff == sqlite3.SQLITE_FULL }

// fatal reports whether an error makes the whole group void: SQLite may have
// undone everything.
func fatal(err error) bool {
	switch code(err) & 0xff {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_NOMEM,
		sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_BUSY:
		return true
	}
	return false
}

// commitError marks a commit whose outcome is open: after a failed write or sync
// of the WAL the frames may, or may not, be there for the next start.
func commitError(err error) error {
	if code(err)&0xff == sqlite3.SQLITE_IOERR {
		return &sqldb.AmbiguousError{Err: err}
	}
	return err
}

// mapError gives the errors that people can act on their code and text.
func mapError(err error) error {
	var he *hostler.Error
	var ambiguous *sqldb.AmbiguousError
	if err == nil || errors.As(err, &he) || errors.As(err, &ambiguous) {
		return err
	}
	if he = describe(err); he == nil {
		return err
	}
	he.Cause = err
	return he
}

// describe returns nil for an error that needs no words of its own.
func describe(err error) *hostler.Error {
	switch code(err) {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		return hostler.Errorf(hostler.CodeConflict, "it already exists", "已存在")
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return hostler.Errorf(hostler.CodeConflict, "it refers to something that does not exist, or is still in use",
			"引用的对象不存在，或仍在使用中")
	}
	switch code(err) & 0xff {
	case sqlite3.SQLITE_FULL:
		return errFull(nil)
	case sqlite3.SQLITE_BUSY:
		return hostler.Errorf(hostler.CodeUnavailable, "the database is busy; try again", "数据库繁忙，请重试")
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN:
		return hostler.Errorf(hostler.CodeUnavailable, "the data folder's disk cannot be read or written; check it",
			"数据目录所在磁盘无法读写，请检查")
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return hostler.Errorf(hostler.CodeTimeout, "the database did not answer in time",
			"数据库未在限定时间内响应")
	}
	return nil
}

// errBusy is the answer to a read that found no free connection in time.
func errBusy(cause error) error {
	if errors.Is(cause, context.Canceled) {
		return cause
	}
	e := hostler.Errorf(hostler.CodeUnavailable, "too many requests wait for the database; try again",
		"等待数据库的请求过多，请重试")
	e.Cause = cause
	return e
}

func errFull(cause error) *hostler.Error {
	e := hostler.Errorf(hostler.CodeDiskFull, "the disk is full: free space for the data folder",
		"磁盘已满：请为数据目录释放空间")
	e.Cause = cause
	return e
}
