// Package sqlite is the store's driver for SQLite, the database of one server.
//
// Model: one goroutine owns the only writing connection. Transactions are
// members of a group: the writer drains what is queued, begins, runs each member
// inside a savepoint, commits once, and only then acknowledges. Readers are a
// small pool of query-only connections on WAL snapshots.
//
// Invariants: a member's own error undoes that member only; an interrupt, a full
// disk or an I/O error fails the whole group; nothing is acknowledged before the
// commit is on disk (WAL, synchronous=FULL). A member's context is never passed
// to the database: cancelling one would roll back the others.
//
// History is kept in segments of bounded size (done_1, done_2, …) behind the
// view done, because indexes on random keys make a table slower as it grows.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	sqlite "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// Options adjust a database; the zero value is for production.
type Options struct {
	Log *slog.Logger     // nil: discard
	Now func() time.Time // nil: time.Now
	// SegmentRows is how many ended jobs a segment of the history holds; 0 means
	// 250,000.
	SegmentRows int64
	// migrations is the folder of store.Migrations: main or log.
	migrations string
}

const (
	defaultSegmentRows = 250_000
	readers            = 4
	readLimit          = 30 * time.Second
	groupLimit         = 512
	// minVersion is the first SQLite without the WAL-reset corruption bug.
	minVersion = "3.51.3"
)

// DB implements store.Driver.
type DB struct {
	path string
	opt  Options
	sql  *store.Rewriter
	ids  idSource

	pool   *sql.DB // writing; one connection
	writer *conn
	queue  chan *member
	tasks  chan task
	wg     sync.WaitGroup

	readPool *sql.DB
	readers  chan *conn

	segment  atomic.Int64 // the current segment of done
	rows     int64        // in it; the writer's own
	written  atomic.Int64 // groups committed, for the checkpointer
	closing  chan struct{}
	closed   sync.Once
	closeErr error

	bell store.Bell
}

var _ store.Driver = (*DB)(nil)

// Open opens the main database, making and migrating it as needed.
func Open(path string, opt Options) (*DB, error) {
	opt.migrations = "main"
	return open(path, opt)
}

// OpenLog opens the file that keeps the output of jobs.
func OpenLog(path string, opt Options) (*DB, error) {
	opt.migrations = "log"
	return open(path, opt)
}

func open(path string, opt Options) (*DB, error) {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.SegmentRows == 0 {
		opt.SegmentRows = defaultSegmentRows
	}
	db := &DB{
		path: path, opt: opt, sql: store.NewRewriter(store.SQLite),
		queue: make(chan *member, groupLimit), tasks: make(chan task), closing: make(chan struct{}),
		readers: make(chan *conn, readers),
	}
	if err := db.start(); err != nil {
		db.release()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db.wg.Go(db.write)
	db.wg.Go(db.checkpoint)
	return db, nil
}

func (db *DB) start() error {
	ctx := context.Background()
	if err := os.MkdirAll(filepath.Dir(db.path), 0o700); err != nil {
		return err
	}
	if err := createPrivate(db.path); err != nil {
		return err
	}
	var err error
	if db.pool, err = sql.Open("sqlite", db.dsn("_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=wal_autocheckpoint(0)&_pragma=foreign_keys(1)&_pragma=temp_store(MEMORY)&_pragma=cache_size(-65536)&_txlock=immediate")); err != nil {
		return err
	}
	db.pool.SetMaxOpenConns(1)
	if err := checkVersion(ctx, db.pool); err != nil {
		return err
	}
	if err := migrate(ctx, db.pool, db.opt.migrations); err != nil {
		return err
	}
	if db.writer, err = newConn(ctx, db, db.pool); err != nil {
		return err
	}
	if db.readPool, err = sql.Open("sqlite", db.dsn("_pragma=query_only(1)&_pragma=cache_size(-8192)")); err != nil {
		return err
	}
	db.readPool.SetMaxOpenConns(readers)
	for range readers {
		r, err := newConn(ctx, db, db.readPool)
		if err != nil {
			return err
		}
		db.readers <- r
	}
	return db.load(ctx)
}

func (db *DB) dsn(params string) string {
	return "file:" + db.path + "?_pragma=busy_timeout(10000)&" + params
}

// createPrivate makes an empty file that only its owner can read; the database's
// other files take over its mode.
func createPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func checkVersion(ctx context.Context, pool *sql.DB) error {
	var v string
	if err := pool.QueryRowContext(ctx, `SELECT sqlite_version()`).Scan(&v); err != nil {
		return err
	}
	if versionLess(v, minVersion) {
		return hostler.Errorf(hostler.CodeInternal, "SQLite %s is too old: %s or newer is needed", "SQLite %s 过旧：需要 %s 或更新版本", v, minVersion)
	}
	return nil
}

func versionLess(a, b string) bool {
	var x, y [3]int
	_, _ = fmt.Sscanf(a, "%d.%d.%d", &x[0], &x[1], &x[2])
	_, _ = fmt.Sscanf(b, "%d.%d.%d", &y[0], &y[1], &y[2])
	for i := range x {
		if x[i] != y[i] {
			return x[i] < y[i]
		}
	}
	return false
}

// load reads what the driver keeps in memory: the newest id, the segment.
func (db *DB) load(ctx context.Context) error {
	if db.opt.migrations != "main" {
		return nil
	}
	var newest int64
	err := db.pool0(ctx, `SELECT max(id) FROM (SELECT max(id) AS id FROM job UNION ALL SELECT max(id) FROM done UNION ALL SELECT max(id) FROM lane
UNION ALL SELECT max(id) FROM worker UNION ALL SELECT max(id) FROM audit UNION ALL SELECT max(id) FROM asset UNION ALL SELECT max(id) FROM credential
UNION ALL SELECT max(id) FROM users UNION ALL SELECT max(id) FROM api_key UNION ALL SELECT max(id) FROM project UNION ALL SELECT max(id) FROM host_key
UNION ALL SELECT max(run) FROM job UNION ALL SELECT max(run) FROM done)`, &newest)
	if err != nil {
		return err
	}
	db.ids.last = newest
	var segment int64
	if err := db.pool0(ctx, `SELECT max(n) FROM segment`, &segment); err != nil {
		return err
	}
	db.segment.Store(segment)
	return db.pool0(ctx, fmt.Sprintf(`SELECT count(*) FROM done_%d`, segment), &db.rows)
}

func (db *DB) pool0(ctx context.Context, q string, dest *int64) error {
	var v sql.NullInt64
	err := db.writer.c.QueryRowContext(ctx, q).Scan(&v)
	*dest = v.Int64
	return err
}

// Name implements store.Driver.
func (db *DB) Name() string { return "sqlite" }

// Now implements store.Driver: SQLite's clock is the process's.
func (db *DB) Now() time.Time { return db.opt.Now().UTC() }

// View implements store.Driver.
func (db *DB) View(ctx context.Context, fn func(c store.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, readLimit)
	defer cancel()
	var c *conn
	select {
	case c = <-db.readers:
	case <-ctx.Done():
		return ctx.Err()
	case <-db.closing:
		return errClosed()
	}
	defer func() { db.readers <- c }()
	if err := c.exec(ctx, "BEGIN"); err != nil {
		return mapError(err)
	}
	err := protect(func() error { return fn(c) })
	if rerr := c.exec(context.WithoutCancel(ctx), "ROLLBACK"); err == nil {
		err = rerr
	}
	return mapError(err)
}

// Stats implements store.Driver.
func (db *DB) Stats(ctx context.Context) (store.Stats, error) {
	start := time.Now()
	s := store.Stats{Kind: "sqlite", PoolMax: readers + 1, PoolInUse: readers - len(db.readers)}
	err := db.View(ctx, func(c store.Conn) error {
		rows, err := c.Query(ctx, `SELECT sqlite_version(), (SELECT page_count FROM pragma_page_count()) * (SELECT page_size FROM pragma_page_size())`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			if err := rows.Scan(&s.Version, &s.SizeBytes); err != nil {
				return err
			}
		}
		return rows.Err()
	})
	s.Latency = time.Since(start)
	s.DiskFree = diskFree(filepath.Dir(db.path))
	return s, err
}

// Close implements store.Driver: what is queued is still committed.
func (db *DB) Close() error {
	db.closed.Do(func() {
		close(db.closing)
		db.wg.Wait()
		db.closeErr = db.release()
	})
	return db.closeErr
}

func (db *DB) release() error {
	var errs []error
	close(db.readers)
	for c := range db.readers {
		errs = append(errs, c.close())
	}
	if db.readPool != nil {
		errs = append(errs, db.readPool.Close())
	}
	if db.writer != nil {
		_, err := db.writer.c.ExecContext(context.Background(), `PRAGMA wal_checkpoint(TRUNCATE)`)
		errs = append(errs, err, db.writer.close())
	}
	if db.pool != nil {
		errs = append(errs, db.pool.Close())
	}
	return errors.Join(errs...)
}

func errClosed() error {
	return hostler.Errorf(hostler.CodeUnavailable, "the store is closing", "存储正在关闭")
}

// mapError gives database errors that people can act on their code.
func mapError(err error) error {
	var se *sqlite.Error
	if !errors.As(err, &se) {
		return err
	}
	switch se.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		e := hostler.Errorf(hostler.CodeDiskFull, "the disk is full: free space for the data folder", "磁盘已满：请为数据目录释放空间")
		e.Cause = err
		return e
	case sqlite3.SQLITE_BUSY:
		e := hostler.Errorf(hostler.CodeUnavailable, "the database is busy; try again", "数据库繁忙，请重试")
		e.Cause = err
		return e
	}
	return err
}

// fatal reports whether an error makes the whole group void: SQLite may have
// rolled everything back.
func fatal(err error) bool {
	var se *sqlite.Error
	if !errors.As(err, &se) {
		return false
	}
	switch se.Code() & 0xff {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_NOMEM,
		sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_BUSY:
		return true
	}
	return false
}
