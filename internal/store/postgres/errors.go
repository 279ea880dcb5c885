package postgres

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// SQLSTATEs that the driver handles (PostgreSQL manual, appendix A).
const (
	stateForeignKey   = "23503"
	stateUnique       = "23505"
	stateCheck        = "23514" // also: no partition for the row
	stateSerialize    = "40001"
	stateUnknown      = "40003" // statement completion unknown
	stateDeadlock     = "40P01"
	stateDiskFull     = "53100"
	stateConnections  = "53300"
	stateObjectInUse  = "55006"
	stateNotAvailable = "55P03" // lock not available
	stateCancelled    = "57014"
	stateIdleInTx     = "25P03" // idle_in_transaction_session_timeout
	stateTxTimeout    = "25P04" // transaction_timeout
)

func pgError(err error) *pgconn.PgError {
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pe
	}
	return nil
}

// isConflict reports whether the database rolled back a transaction that may succeed
// when it is retried.
func isConflict(err error) bool {
	pe := pgError(err)
	return pe != nil && (pe.Code == stateSerialize || pe.Code == stateDeadlock)
}

// isAway reports whether the connection failed, as opposed to a statement.
func isAway(err error) bool {
	if _, ok := errors.AsType[*undoneError](err); ok {
		return true
	}
	if pe := pgError(err); pe != nil {
		switch pe.Code {
		case stateConnections, stateIdleInTx, stateTxTimeout:
			return true
		}
		// 57P0x: the server is shutting down, has crashed or is starting.
		return strings.HasPrefix(pe.Code, "08") || strings.HasPrefix(pe.Code, "57P")
	}
	var ce *pgconn.ConnectError
	var ne net.Error
	return errors.As(err, &ce) || errors.As(err, &ne) || errors.Is(err, net.ErrClosed) ||
		pgconn.SafeToRetry(err) || isLostConn(err)
}

// isLostConn recognises the errors that pgx returns when a connection is closed while
// in use.
func isLostConn(err error) bool {
	s := err.Error()
	return strings.HasSuffix(s, "conn closed") || strings.HasSuffix(s, "EOF")
}

// mapError gives a code and a text to the errors that a user can act on.
func mapError(err error) error {
	var he *hostler.Error
	if err == nil || errors.As(err, &he) {
		return err
	}
	if ambiguous, ok := errors.AsType[*sqldb.AmbiguousError](err); ok {
		return &sqldb.AmbiguousError{Err: outcomeUnknown(ambiguous.Err)}
	}
	if he = describe(err); he == nil {
		return err
	}
	he.Cause = err
	return he
}

// describe returns the error for the user, or nil if err has none.
func describe(err error) *hostler.Error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return timedOut()
	}
	if pe := pgError(err); pe != nil {
		switch pe.Code {
		case stateDiskFull:
			return hostler.Errorf(hostler.CodeDiskFull, "the disk of the PostgreSQL server is full: free space on it",
				"PostgreSQL 服务器磁盘已满：请释放空间")
		case stateUnique:
			return hostler.Errorf(hostler.CodeConflict, "the object already exists", "对象已存在")
		case stateForeignKey:
			return hostler.Errorf(hostler.CodeConflict,
				"a referenced object does not exist, or the object is still in use",
				"引用的对象不存在，或该对象仍在使用中")
		case stateCancelled:
			return timedOut()
		case stateNotAvailable:
			e := hostler.Errorf(hostler.CodeUnavailable,
				"another change, which takes long, must end first; nothing was changed: try again",
				"须等待另一项耗时较长的更改结束；没有更改任何内容：请重试")
			e.RetryAfter = 5
			return e
		case stateSerialize, stateDeadlock:
			return hostler.Errorf(hostler.CodeUnavailable, "the database is busy; try again",
				"数据库繁忙，请重试")
		}
	}
	if isAway(err) {
		return hostler.Errorf(hostler.CodeUnavailable,
			"cannot connect to PostgreSQL: check that it is running, its address and the network",
			"无法连接 PostgreSQL：请检查其运行状态、地址和网络")
	}
	return nil
}

func outcomeUnknown(cause error) *hostler.Error {
	e := hostler.Errorf(hostler.CodeUnavailable,
		"PostgreSQL did not confirm the change, which may or may not be saved: "+
			"check before you retry, or retry with the same Idempotency-Key",
		"PostgreSQL 未确认更改：更改可能已生效，也可能没有；请先确认再重试，或使用相同的 Idempotency-Key 重试")
	e.Cause = cause
	return e
}

func timedOut() *hostler.Error {
	return hostler.Errorf(hostler.CodeTimeout, "PostgreSQL did not answer in time",
		"PostgreSQL 未在限定时间内响应")
}
