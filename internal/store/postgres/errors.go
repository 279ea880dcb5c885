package postgres

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"

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
	if e := describeConnection(err); e != nil {
		return e
	}
	if isAway(err) {
		return hostler.Errorf(hostler.CodeUnavailable,
			"cannot connect to PostgreSQL: check that it is running, its address and the network",
			"无法连接 PostgreSQL：请检查其运行状态、地址和网络")
	}
	return nil
}

// describeConnection returns why a connection could not be made, where the cause is known and
// has its own remedy.
func describeConnection(err error) *hostler.Error {
	refused := func(en, zh string, args ...any) *hostler.Error {
		return hostler.Errorf(hostler.CodeUnavailable, en, zh, args...)
	}
	var user, database, host string
	var ce *pgconn.ConnectError
	if errors.As(err, &ce) && ce.Config != nil {
		user, database, host = ce.Config.User, ce.Config.Database, ce.Config.Host
	}
	if pe := pgError(err); pe != nil {
		switch pe.Code {
		case "28P01":
			return refused("PostgreSQL refuses the password of the user %q: check it in --db", "PostgreSQL 拒绝用户 %q 的密码：请检查 --db 中的密码", user)
		case "28000":
			return refused("PostgreSQL does not let the user %q in from here: check the user, and pg_hba.conf",
				"PostgreSQL 不允许用户 %q 从此处登录：请检查用户及 pg_hba.conf", user)
		case "3D000":
			return refused("the database %q does not exist: create it with CREATE DATABASE, or correct --db",
				"数据库 %q 不存在：请用 CREATE DATABASE 创建，或更正 --db", database)
		case "42501":
			return refused("the user of the database lacks a right: %s; make it the owner of the database",
				"数据库用户缺少权限：%s；请将其设为数据库的所有者", pe.Message)
		}
		return nil
	}
	if ce == nil {
		return nil
	}
	var dns *net.DNSError
	text := err.Error()
	switch {
	case errors.As(err, &dns):
		return refused("the name %q of the PostgreSQL server is not known: check it in --db, and the DNS",
			"无法解析 PostgreSQL 服务器名称 %q：请检查 --db 和 DNS", dns.Name)
	case strings.Contains(text, "refused TLS"):
		return refused("PostgreSQL at %s offers no TLS: set sslmode=disable in --db if the network is trusted, or switch TLS on there",
			"%s 的 PostgreSQL 不支持 TLS：若网络可信，请在 --db 中设置 sslmode=disable，或在服务端启用 TLS", host)
	case strings.Contains(text, "tls: ") || strings.Contains(text, "x509: "):
		return refused("the certificate of PostgreSQL at %s is not accepted: check sslrootcert and the host name in --db",
			"%s 的 PostgreSQL 证书未通过验证：请检查 --db 中的 sslrootcert 和主机名", host)
	case errors.Is(err, syscall.ECONNREFUSED):
		return refused("no PostgreSQL answers at %s: start it, or correct host and port in --db",
			"%s 上没有 PostgreSQL 应答：请启动它，或更正 --db 中的主机和端口", host)
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
