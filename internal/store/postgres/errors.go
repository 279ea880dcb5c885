package postgres

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
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
	if pe := pgError(err); pe != nil {
		// 57P0x: the server shuts down, crashed or starts.
		return strings.HasPrefix(pe.Code, "08") || strings.HasPrefix(pe.Code, "57P") || pe.Code == stateConnections
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
			return hostler.Errorf(hostler.CodeConflict, "it exists already", "已存在")
		case stateForeignKey:
			return hostler.Errorf(hostler.CodeConflict, "it refers to something that does not exist, or is still in use", "引用的对象不存在，或仍在使用中")
		case stateCancelled, stateNotAvailable:
			return timedOut()
		case stateSerialize, stateDeadlock:
			return hostler.Errorf(hostler.CodeUnavailable, "the database is busy; try again", "数据库繁忙，请重试")
		}
	}
	if isAway(err) {
		return hostler.Errorf(hostler.CodeUnavailable, "PostgreSQL cannot be reached; check that it runs, its address and the network",
			"无法连接 PostgreSQL：请检查其运行状态、地址和网络")
	}
	return nil
}

func timedOut() *hostler.Error {
	return hostler.Errorf(hostler.CodeTimeout, "PostgreSQL did not answer in time", "PostgreSQL 未在限定时间内响应")
}

// warningKey is where a connection keeps the last WARNING it received.
const warningKey = "hostler.warning"

func noteWarning(c *pgconn.PgConn, n *pgconn.Notice) {
	if n.SeverityUnlocalized == "WARNING" || n.Severity == "WARNING" {
		c.CustomData()[warningKey] = n
	}
}

// commitError classifies what COMMIT returned. After an ERROR of the classes
// below the transaction is undone for certain; a broken connection, a server
// that shuts down, or a WARNING (a cancelled wait for a standby reports success
// with one) leave it open.
func commitError(err error, warning *pgconn.Notice) error {
	if err == nil {
		if warning != nil {
			return &sqldb.AmbiguousError{Err: errors.New(warning.Message)}
		}
		return nil
	}
	if errors.Is(err, pgx.ErrTxCommitRollback) || pgconn.SafeToRetry(err) {
		return err
	}
	if pe := pgError(err); pe != nil && pe.Code != stateUnknown && undone(pe) {
		return err
	}
	return &sqldb.AmbiguousError{Err: err}
}

func undone(pe *pgconn.PgError) bool {
	if pe.SeverityUnlocalized != "ERROR" && pe.Severity != "ERROR" {
		return false
	}
	for _, class := range [...]string{"22", "23", "25", "40", "53", "55"} {
		if strings.HasPrefix(pe.Code, class) {
			return true
		}
	}
	return false
}
