package sqlite

import (
	"context"
	"errors"

	sqlite "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// code returns SQLite's extended result code of an error, or 0 for any other error.
func code(err error) int {
	if se, ok := errors.AsType[*sqlite.Error](err); ok {
		return se.Code()
	}
	return 0
}

func isFull(err error) bool { return code(err)&0xff == sqlite3.SQLITE_FULL }

// fatal reports whether an error fails the whole group, because SQLite may have rolled
// back the transaction.
func fatal(err error) bool {
	switch code(err) & 0xff {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_NOMEM,
		sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY,
		sqlite3.SQLITE_CANTOPEN:
		return true
	}
	return false
}

// unwritable reports whether the file could not be written, for a reason that holds for
// the next write too.
func unwritable(err error) bool {
	switch code(err) & 0xff {
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN:
		return true
	}
	return false
}

// commitError returns an AmbiguousError for a commit whose outcome is unknown: after a
// failed write or sync of the WAL, the next start may or may not find the frames.
func commitError(err error) error {
	if code(err)&0xff == sqlite3.SQLITE_IOERR {
		return &sqldb.AmbiguousError{Err: err}
	}
	return err
}

// mapError gives a code and a text to the errors that a user can act on.
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

// describe returns the error for the user, or nil if err has none.
func describe(err error) *hostler.Error {
	switch code(err) {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		return hostler.Errorf(hostler.CodeConflict, "the object already exists", "对象已存在")
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return hostler.Errorf(hostler.CodeConflict,
			"a referenced object does not exist, or the object is still in use",
			"引用的对象不存在，或该对象仍在使用中")
	}
	switch code(err) & 0xff {
	case sqlite3.SQLITE_FULL:
		return errFull(nil)
	case sqlite3.SQLITE_BUSY:
		return hostler.Errorf(hostler.CodeUnavailable, "the database is busy; try again", "数据库繁忙，请重试")
	case sqlite3.SQLITE_READONLY:
		return errReadOnly(nil)
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN:
		return hostler.Errorf(hostler.CodeUnavailable,
			"cannot read or write the data folder: check its disk and permissions",
			"无法读写数据目录：请检查磁盘和权限")
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return hostler.Errorf(hostler.CodeTimeout, "the database did not answer in time",
			"数据库未在限定时间内响应")
	}
	return nil
}

// errReadOnly returns the error for a data folder that cannot be written at all.
func errReadOnly(cause error) *hostler.Error {
	e := hostler.Errorf(hostler.CodeUnavailable,
		"the data folder is read-only: mount its disk for writing, and check the permissions",
		"数据目录只读：请以可写方式挂载其磁盘，并检查权限")
	e.Cause = cause
	return e
}

// errBusy returns the error for a read that got no connection in time.
func errBusy(cause error) error {
	if errors.Is(cause, context.Canceled) {
		return cause
	}
	e := hostler.Errorf(hostler.CodeUnavailable, "too many requests are waiting for the database; try again",
		"等待数据库的请求过多，请重试")
	e.Cause = cause
	return e
}

func errFull(cause error) *hostler.Error {
	e := hostler.Errorf(hostler.CodeDiskFull, "the disk of the data folder is full: free space on it",
		"磁盘已满：请为数据目录释放空间")
	e.Cause = cause
	return e
}
