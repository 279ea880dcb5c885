// Package postgres is the store's driver for PostgreSQL 15 and newer, the
// database of any number of servers.
//
// # Model
//
// Every server has a pool of connections, one connection for LISTEN and one for
// NOTIFY. All servers use the database's clock: each reads it periodically and adds
// the monotonic time elapsed since.
//
// History is partitioned by the UTC day in which a job ended. Partitions are
// created ahead of time and dropped whole. There is no default partition, because
// it would rule out DETACH CONCURRENTLY.
//
// # Invariants
//
//   - No call waits without a limit, neither in the database (statement_timeout) nor
//     in this process (a deadline per transaction).
//   - A transaction is acknowledged only when its commit is durable: fsync and
//     synchronous_commit are asserted on every connection, and a commit without a
//     clear answer is a *sqldb.AmbiguousError.
//   - A transaction is retried only when it certainly changed nothing.
package postgres

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store/schema"
)

// Options adjust a database; the zero value is for production.
type Options struct {
	Log *slog.Logger // nil: discard
	// Now replaces the database's clock, for tests.
	Now func() time.Time
	// MaxConns is the size of the pool; 0 means 16.
	MaxConns int
	// Timeout bounds every transaction, commit not included; 0 means 30 s.
	Timeout time.Duration
	// ReadTimeout bounds a request's read, including the wait for a connection; 0
	// means 10 s. It is at most Timeout.
	ReadTimeout time.Duration
	// LockTimeout bounds how long a statement waits for a lock; 0 means 10 s.
	LockTimeout time.Duration
	// IdleTimeout bounds how long a transaction may wait for its next statement.
	// The database then rolls it back, so that a suspended server does not hold
	// locks that others need. 0 means 5 s.
	IdleTimeout time.Duration
	// Patience is how long a transaction is retried while the database is
	// unreachable, or after deadlocks; 0 means 10 s.
	Patience time.Duration
	// Version is that of the program, for the texts that compare it with the data's.
	Version string
	// Server registers a server, which must then call [DB.Watch]. Nil: a program that
	// uses the database for a moment.
	Server *Server
	// OlderPatience is how long to wait for live servers that are too old to work with
	// the data of this version; 0 means 40 s.
	OlderPatience time.Duration
	// Existing opens the database as it is, without migrations: servers of another
	// version may be using it.
	Existing bool
	// Schema replaces the migrations, for tests; nil means schema.Migrations.
	Schema fs.FS
}

const (
	defaultMaxConns    = 16
	defaultTimeout     = 30 * time.Second
	defaultReadTimeout = 10 * time.Second
	defaultLockTimeout = 10 * time.Second
	defaultIdleTimeout = 5 * time.Second
	defaultPatience    = 10 * time.Second
	connectTimeout     = 5 * time.Second
	minVersion         = 150000
)

// DB implements sqldb.Driver.
type DB struct {
	opt   Options
	sql   *sqldb.Rewriter
	pool  *pgxpool.Pool
	clock atomic.Pointer[reading] // the latest that was fast enough
	slots slots
	marks marks
	level int64 // the newest migration that this program knows

	notifier notifier
}

var _ sqldb.Driver = (*DB)(nil)

// Open connects, checks that commits are durable, migrates the database, and creates
// the partitions of today and the days ahead. Any number of servers may open one
// database at the same time.
func Open(ctx context.Context, dsn string, opt Options) (*DB, error) {
	opt = withDefaults(opt)
	cfg, err := config(dsn, opt)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, mapError(fmt.Errorf("open the pool: %w", err))
	}
	db := &DB{
		opt: opt, sql: sqldb.NewRewriter(sqldb.Postgres), pool: pool,
		slots: newSlots(opt.MaxConns), marks: marks{server: rand.Int64()},
	}
	db.notifier.init(cfg.ConnConfig, opt.Log)
	if err := db.prepare(ctx, cfg.ConnConfig); err != nil {
		pool.Close()
		return nil, mapError(err)
	}
	return db, nil
}

func withDefaults(opt Options) Options {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.MaxConns == 0 {
		opt.MaxConns = defaultMaxConns
	}
	if opt.Timeout == 0 {
		opt.Timeout = defaultTimeout
	}
	if opt.Schema == nil {
		opt.Schema = schema.Migrations
	}
	if opt.ReadTimeout == 0 {
		opt.ReadTimeout = defaultReadTimeout
	}
	opt.ReadTimeout = min(opt.ReadTimeout, opt.Timeout)
	if opt.LockTimeout == 0 {
		opt.LockTimeout = defaultLockTimeout
	}
	if opt.IdleTimeout == 0 {
		opt.IdleTimeout = defaultIdleTimeout
	}
	if opt.OlderPatience == 0 {
		opt.OlderPatience = olderPatience
	}
	if opt.Patience == 0 {
		opt.Patience = defaultPatience
	}
	return opt
}

func (db *DB) prepare(ctx context.Context, cfg *pgx.ConnConfig) error {
	if err := db.measureClock(ctx); err != nil {
		return err
	}
	if db.opt.Existing {
		return db.checkLevel(ctx, cfg)
	}
	if err := db.upgrade(ctx, cfg); err != nil {
		return err
	}
	return db.createPartitions(ctx)
}

func config(dsn string, opt Options) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		// The parser's message may quote the password.
		return nil, hostler.Invalid("db", "is not a PostgreSQL connection string, such as postgres://user@host/database",
			"不是合法的 PostgreSQL 连接串，例如 postgres://user@host/database")
	}
	cfg.MaxConns = int32(opt.MaxConns) //nolint:gosec // a handful
	cfg.PingTimeout = connectTimeout
	cfg.AfterConnect = func(ctx context.Context, c *pgx.Conn) error { return assertDurable(ctx, c) }
	c := cfg.ConnConfig
	if c.ConnectTimeout == 0 || c.ConnectTimeout > connectTimeout {
		c.ConnectTimeout = connectTimeout
	}
	c.RuntimeParams["statement_timeout"] = fmt.Sprint(opt.Timeout.Milliseconds())
	c.RuntimeParams["lock_timeout"] = fmt.Sprint(opt.LockTimeout.Milliseconds())
	c.RuntimeParams["idle_in_transaction_session_timeout"] = fmt.Sprint(opt.IdleTimeout.Milliseconds())
	c.RuntimeParams["jit"] = "off" // compiling takes longer than any of our statements
	// The queue's tables go from empty to millions of rows faster than statistics
	// follow: a plan that scans a table, or builds a hash of it, because it was small
	// would stay in use.
	c.RuntimeParams["enable_seqscan"] = "off"
	c.RuntimeParams["enable_hashjoin"] = "off"
	c.RuntimeParams["enable_mergejoin"] = "off"
	c.RuntimeParams["TimeZone"] = "UTC"
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "hostler"
	}
	c.OnNotice = noteWarning
	c.BuildContextWatcherHandler = func(pc *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: pc, DeadlineDelay: time.Second}
	}
	return cfg, nil
}

// assertDurable returns an error if the database may lose acknowledged commits.
func assertDurable(ctx context.Context, c *pgx.Conn) error {
	var version int
	var fsync, commit string
	err := c.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, current_setting('fsync'),
current_setting('synchronous_commit')`).Scan(&version, &fsync, &commit)
	if err != nil {
		return err
	}
	switch {
	case version < minVersion:
		return hostler.Errorf(hostler.CodeUnavailable,
			"PostgreSQL %d is too old: use PostgreSQL 15 or newer",
			"PostgreSQL %d 版本过旧：请使用 PostgreSQL 15 或更新版本", version/10000)
	case fsync != "on":
		return hostler.Errorf(hostler.CodeUnavailable,
			"PostgreSQL runs with fsync = %s and may lose acknowledged jobs: set fsync = on",
			"PostgreSQL 的 fsync = %s，可能丢失已确认的作业：请设置 fsync = on", fsync)
	case commit == "off":
		return hostler.Errorf(hostler.CodeUnavailable,
			"synchronous_commit = %s may lose acknowledged jobs: set it to on for this database or user",
			"synchronous_commit = %s 可能丢失已确认的作业：请为该数据库或用户设置为 on", commit)
	}
	return nil
}

// Name implements sqldb.Driver.
func (db *DB) Name() string { return string(sqldb.Postgres) }

// Now implements sqldb.Driver. It returns the database's clock, extrapolated from the
// last reading.
func (db *DB) Now() time.Time {
	if db.opt.Now != nil {
		return db.opt.Now().UTC()
	}
	return db.clock.Load().now()
}

// reading pairs the database's clock with the local clock. The time elapsed since is
// taken from the monotonic clock, so that a step of the local wall clock has no effect.
type reading struct{ database, local time.Time }

func (r *reading) now() time.Time { return r.database.Add(time.Since(r.local)).UTC() }

// slowReading is the round trip from which a reading is discarded if there is an
// earlier one: the error of a reading is up to half its round trip.
const slowReading = 200 * time.Millisecond

// measureClock reads the database's clock.
func (db *DB) measureClock(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return db.with(ctx, sqldb.Work, func(c *pgxpool.Conn) error {
		var us int64
		sent := time.Now()
		err := c.QueryRow(ctx, `SELECT floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint`).Scan(&us)
		if err != nil {
			return fmt.Errorf("read the database's clock: %w", err)
		}
		took := time.Since(sent)
		if took < slowReading || db.clock.Load() == nil {
			db.clock.Store(&reading{database: time.UnixMicro(us), local: sent.Add(took / 2)})
		}
		return nil
	})
}

// Accepts implements sqldb.Driver. A full disk fails the transactions themselves.
func (db *DB) Accepts() error { return nil }

// Probe implements sqldb.Driver. A server that only reads, such as a standby, cannot
// allocate a transaction id.
func (db *DB) Probe(ctx context.Context) error {
	return db.InTx(ctx, func(c sqldb.Conn) error {
		_, err := c.Exec(ctx, `SELECT pg_current_xact_id()`)
		return err
	})
}

// Stats implements sqldb.Driver. PostgreSQL does not report the server's free disk
// space, so DiskFree is always 1.
func (db *DB) Stats(ctx context.Context) (sqldb.Stats, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	s := sqldb.Stats{Kind: db.Name(), PoolMax: db.opt.MaxConns, DiskFree: 1}
	start := time.Now()
	err := db.with(ctx, sqldb.Work, func(c *pgxpool.Conn) error {
		start = time.Now()
		return c.QueryRow(ctx, `SELECT current_setting('server_version'), pg_database_size(current_database())`).
			Scan(&s.Version, &s.SizeBytes)
	})
	s.Latency = time.Since(start)
	s.PoolInUse = int(db.pool.Stat().AcquiredConns())
	return s, mapError(err)
}

// Close implements sqldb.Driver.
func (db *DB) Close() error {
	db.notifier.close()
	db.pool.Close()
	return nil
}
