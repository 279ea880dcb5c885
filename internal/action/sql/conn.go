package sql

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/egress"
)

// connectTimeout limits connecting and logging in.
const connectTimeout = 20 * time.Second

// rowBytes is how much a server may send for a row.
const rowBytes = 64 << 20

// budget is how many bytes a server may send until the next row.
type budget struct{ used atomic.Int64 }

func (b *budget) refill() { b.used.Store(0) }

// boundedConn is a connection on which the server may not send more than the budget.
type boundedConn struct {
	net.Conn
	budget *budget
}

var errTooMuch = errors.New("the server sent too much for one row")

// Read implements net.Conn.
func (c boundedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.budget.used.Add(int64(n)) > rowBytes {
		return 0, errTooMuch
	}
	return n, err
}

// open returns a database with one connection, which is not opened yet.
func open(u *url.URL, a args, cred hostler.LeaseCredential, policy *egress.Policy, b *budget) (*sql.DB, error) {
	port := map[string]int{"postgres": 5432, "mysql": 3306}[u.Scheme]
	if p, err := strconv.Atoi(u.Port()); err == nil {
		port = p
	}
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := policy.Dialer(nil).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return boundedConn{c, b}, nil
	}
	var connector driver.Connector
	var err error
	name := strings.TrimPrefix(u.Path, "/")
	if u.Scheme == "mysql" {
		cfg := mysql.NewConfig()
		cfg.Net, cfg.Addr, cfg.DBName = "tcp", net.JoinHostPort(u.Hostname(), fmt.Sprint(port)), name
		cfg.User, cfg.Passwd = cred.Username, cred.Secret.Password
		cfg.TLS, cfg.DialFunc, cfg.Timeout, cfg.ParseTime = tlsConfig(u, a), dial, connectTimeout, true
		cfg.AllowAllFiles, cfg.MultiStatements, cfg.Logger = false, false, &mysql.NopLogger{}
		cfg.AllowNativePasswords = true
		connector, err = mysql.NewConnector(cfg)
	} else {
		var cfg *pgx.ConnConfig
		// Every setting that the library would take from the server's environment is given.
		if cfg, err = pgx.ParseConfig("host=localhost port=5432 user=x password=x dbname=x sslmode=disable passfile=/dev/null servicefile=/dev/null"); err == nil {
			cfg.Host, cfg.Port, cfg.Database, cfg.User, cfg.Password = u.Hostname(), uint16(port), name, cred.Username, cred.Secret.Password //nolint:gosec // a port
			cfg.TLSConfig, cfg.DialFunc, cfg.ConnectTimeout, cfg.Fallbacks = tlsConfig(u, a), dial, connectTimeout, nil
			cfg.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil } // the dialer resolves
			cfg.RuntimeParams = map[string]string{"application_name": "hostler"}
			cfg.DefaultQueryExecMode = pgx.QueryExecModeDescribeExec
			connector = stdlib.GetConnector(*cfg)
		}
	}
	if err != nil {
		return nil, action.NewFault(hostler.ErrKindBadArgs, "the server cannot be used", "服务器配置无效").Final().Because(err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	return db, nil
}

func tlsConfig(u *url.URL, a args) *tls.Config {
	if a.TLS == "off" {
		return nil
	}
	cfg := &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
	cfg.InsecureSkipVerify = a.TLS == "require" //nolint:gosec // the user chose that
	if a.CA != "" {
		cfg.RootCAs = x509.NewCertPool()
		cfg.RootCAs.AppendCertsFromPEM([]byte(a.CA))
	}
	return cfg
}

// fault classifies an error; changes tells that a change may have been sent.
func fault(ctx context.Context, err error, changes bool) *action.Fault {
	if f, ok := errors.AsType[*action.Fault](err); ok {
		return f
	}
	if d, ok := errors.AsType[*egress.Denied](err); ok {
		return action.NewFault(hostler.ErrKindBadArgs, "%[1]s", "%[2]s", d.Text().EN, d.Text().ZH).Final()
	}
	if f := refusal(err); f != nil && ctx.Err() == nil {
		return f.Because(err)
	}
	var certificate *tls.CertificateVerificationError
	switch {
	case changes:
		return action.NewUnknownFault(hostler.ErrKindConnLost, "the connection broke, or the job was stopped, before the database answered; the change may have been made",
			"数据库应答前连接中断或作业被停止；更改可能已生效").Because(err)
	case ctx.Err() != nil:
		return action.StoppedFault(ctx, "while the database was asked", "数据库操作期间").Because(err)
	case errors.Is(err, errTooMuch):
		return action.NewFault(KindSQL, "a row has more than %d MiB", "单行超过 %d MiB", rowBytes>>20).Final().Because(err)
	case errors.As(err, &certificate):
		return action.NewFault(hostler.ErrKindAuth, "the certificate of the database is not trusted for this name",
			"数据库的证书不受信任或与名称不符").WithRemedy("pass the certificate of its authority in ca", "请在 ca 中提供其 CA 证书").Final().Because(err)
	case strings.Contains(err.Error(), "refused TLS") || errors.Is(err, mysql.ErrNoTLS):
		return action.NewFault(hostler.ErrKindAuth, "the database offers no TLS", "数据库不支持 TLS").
			WithRemedy("enable it, or use tls: off within a network that is trusted", "请启用 TLS，或在可信网络内使用 tls: off").Final().Because(err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return action.NewFault(hostler.ErrKindRefused, "the database refused the connection", "数据库拒绝连接").Because(err)
	}
	if f := action.ShortageFault(err); f != nil {
		return f
	}
	return action.NewFault(hostler.ErrKindUnreachable, "the database cannot be reached, or the connection was lost", "无法连接数据库，或连接中断").Because(err)
}

// refusal is the fault of an answer of the database; nil for other errors.
func refusal(err error) *action.Fault {
	pg, isPG := errors.AsType[*pgconn.PgError](err)
	my, isMy := errors.AsType[*mysql.MySQLError](err)
	var code, text string
	switch {
	case isPG:
		code, text = pg.Code, pg.Message
	case isMy:
		code, text = fmt.Sprint(my.Number), my.Message
	default:
		return nil
	}
	text = strings.ToValidUTF8(text, "\uFFFD")
	switch code {
	case "28P01", "28000", "1045", "1044":
		return action.NewFault(hostler.ErrKindAuth, "the database refused the login: %s", "数据库拒绝登录：%s", text).Final()
	case "25006", "1792":
		return action.NewFault(KindSQL, "the statement would change data: %s", "语句会修改数据：%s", text).
			WithRemedy("give write: true if that is meant", "如确需修改，请指定 write: true").Final()
	}
	f := action.NewFault(KindSQL, "the database refused the statement: %s (%s)", "数据库拒绝执行语句：%s（%s）", text, code)
	// Syntax errors and missing objects stay; deadlocks and full disks may not.
	f.NoRetry = strings.HasPrefix(code, "42") || code == "1064" || code == "1146" || code == "1054"
	return f
}
