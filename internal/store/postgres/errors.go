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

// SQLSTATEs that matter here (PostgreSQL manual, appendix A).
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

// isConflict reports whether the database undid a transaction that succeeds
// when it is run again.
func isConflict(err error) bool {
	pe := pgError(err)
	return pe != nil && (pe.Code == stateSerialize || pe.Code == stateDeadlock)
}

// isAway reports whether the connection, and not the statement, failed.
func isAway(err error) bool {
	if _, ok := errors.AsType[*undoneError](err); ok {
		return true
	}
	if pe := pgError(err); pe != nil {
		switch pe.Code {
		case stateConnections, stateIdleInTx, stateTxTimeout:
			return true
		}
		// 57P0x: the server shuts down, crashed or starts.
		return strings.HasPrefix(pe.Code, "08") || strings.HasPrefix(pe.Code, "57P")
	}
	var ce *pgconn.ConnectError
	var ne net.Error
	return errors.As(err, &ce) || errors.As(err, &ne) || errors.Is(err, net.ErrClosed) ||
		pgconn.SafeToRetry(err) || isLostConn(err)
}

// isLostConn recognises what pgx returns when a connection ends in the middle.
func isLostConn(err error) bool {
	s := err.Error()
	return strings.HasSuffix(s, "unexpected EOF") || strings.HasSuffix(s, "conn closed") || strings.HasSuffix(s, "EOF")
}

// mapError gives the errors that people can act on their code and text.
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

// describe returns nil for an error that needs no words of its own.
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
			return hostler.Errorf(hostler.CodeDiskFull, "the disk of the PostgreSQL server is full: free space there",
				"PostgreSQL 服务器磁盘已满：请释放空间")
		case stateUnique:
			return hostler.Errorf(hostler.CodeConflict, "it already exists", "已存在")
		case stateForeignKey:
			return hostler.Errorf(hostler.CodeConflict, "it refers to something that does not exist, or is still in use",
				"引用的对象不存在，或仍在使用中")
		case stateCancelled, stateNotAvailable:
			return timedOut()
		case stateSerialize, stateDeadlock:
			return hostler.Errorf(hostler.CodeUnavailable, "the database is busy; try again",
				"数据库繁忙，请重试")
		}
	}
	if isAway(err) {
		return hostler.Errorf(hostler.CodeUnavailable, "PostgreSQL cannot be reached; check that it runs, its address and the network",
			"无法连接 PostgreSQL：请检查其运行状态、地址和网络")
	}
	return nil
}

func outcomeUnknown(cause error) *hostler.Error {
	e := hostler.Errorf(hostler.CodeUnavailable,
		"PostgreSQL did not confirm the change: it may or may not have been made; check before you repeat it, or repeat it with its Idempotency-Key",
		"PostgreSQL 未确认更改：更改可能已生效，也可能没有；请先确认再重试，或使用相同的 Idempotency-Key 重试")
	e.Cause = cause
	return e
}

func timedOut() *hostler.Error {
	return hostler.Errorf(hostler.CodeTimeout, "PostgreSQL did not answer in time",
		"PostgreSQL 未在限定时间内响应")
}
