// Package sqlite is the store's driver for SQLite, the database of one server.
//
// # Model
//
// One goroutine, the writer, owns the only writing connection. It commits transactions
// in groups: it drains the queue, begins a transaction, runs each member of the group
// inside a savepoint, commits, and then acknowledges every member. Heartbeats and what
// moves jobs (see sqldb.Class) go before the requests, of which a group takes no more
// after 100 ms: so they wait for one large request, not for all that were queued before
// them. Readers use a small pool of query-only connections on WAL snapshots.
//
// History is stored in segments of bounded size (done_1, done_2, …) behind the view
// done, because inserts into indexes on random keys get slower as a table grows.
//
// # Invariants
//
//   - A member's error rolls back that member only. An interrupt, a full disk or an I/O
//     error fails the whole group.
//   - A transaction is acknowledged only after its commit is on disk (WAL,
//     synchronous=FULL).
//   - A member's context is never passed to the database, where its cancellation would
//     roll back the other members.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// Options adjust a database; the zero value is for production.
type Options struct {
	Log *slog.Logger     // nil: discard
	Now func() time.Time // nil: time.Now
	// SegmentRows is how many ended jobs a segment of the history holds, or fewer whose
	// results are large (see segmentRowBytes); 0 means
	// 250,000.
	SegmentRows int64
	// Reserve is the disk space, in bytes, reserved for recording the results of
	// running jobs when the disk is full; 0 means 16 MiB, less than 0 none.
	Reserve int64
	// Version is that of the program, for the texts that compare it with the data's.
	Version string
	// Existing opens the database as it is, without migrations: a server of another
	// version may be using it.
	Existing bool
	// Schema replaces the migrations, for tests; nil means schema.Migrations.
	Schema fs.FS
	// migrations is the folder of the schema: main or log.
	migrations string
	// groupTime is how long requests are added to a group; 0 means 100 ms.
	groupTime time.Duration
}

const (
	defaultSegmentRows = 250_000
	readers            = 4
	workReaders        = 2
	requestReadLimit   = 10 * time.Second
	workReadLimit      = 30 * time.Second
	groupLimit         = 512
	defaultGroupTime   = 100 * time.Millisecond
	// minVersion is the first SQLite without the WAL-reset corruption bug.
	minVersion = "3.51.3"
)

// DB implements sqldb.Driver.
type DB struct {
	path     string
	opt      Options
	sql      *sqldb.Rewriter
	ids      idSource
	notifier sqldb.Notifier

	writer   *conn
	urgent   chan *member // of higher classes than requests, which go first
	queue    chan *member // of requests
	tasks    chan task
	inCommit []*member // the group being committed; used by the writer only
	rows     int64     // in the current segment; used by the writer only
	segment  atomic.Int64
	written  atomic.Int64 // groups committed, for checkpoints

	readers     readerPool    // for reads of every class
	lists       chan struct{} // one for each list that reads; see sqldb.Class
	workReaders readerPool    // additional ones for all classes but Requests; see sqldb.Class
	opened      []readerPool
	checkpoints *conn // dedicated, so that no reader delays a checkpoint
	reserve     reserve
	full        atomic.Bool           // the reserve is released: new work is rejected
	failed      atomic.Pointer[error] // why no group can be written; nil if one can
	probes      atomic.Int64          // see Probe
	file        fs.FileInfo           // the open file; nil before it is open

	wg       sync.WaitGroup
	closing  chan struct{} // closed by Close
	stopped  chan struct{} // closed by the writer when it ends
	closed   sync.Once
	closeErr error
}

var _ sqldb.Driver = (*DB)(nil)

// readerPool holds the idle reading connections. Its capacity is their total number
// while the database is open.
type readerPool chan *conn

func (p readerPool) open(ctx context.Context, db *DB) error {
	for range cap(p) {
		c, err := db.connect(ctx, readerPragmas)
		if err != nil {
			return errors.Join(err, p.close(len(p)))
		}
		p <- c
	}
	return nil
}

// close waits for n connections and closes them.
func (p readerPool) close(n int) error {
	var errs []error
	for range n {
		c := <-p
		errs = append(errs, c.close())
	}
	return errors.Join(errs...)
}

// Open opens the main database, and creates and migrates it as needed. Only one process
// may open it at a time; see [LockFolder].
func Open(path string, opt Options) (*DB, error) {
	opt.migrations = "main"
	return open(path, opt)
}

// OpenLog opens the database of job output, and creates and migrates it as needed.
func OpenLog(path string, opt Options) (*DB, error) {
	opt.migrations = "log"
	return open(path, opt)
}

func newDB(path string, opt Options) *DB {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.SegmentRows == 0 {
		opt.SegmentRows = defaultSegmentRows
	}
	if opt.Reserve == 0 {
		opt.Reserve = defaultReserve
	}
	if opt.groupTime == 0 {
		opt.groupTime = defaultGroupTime
	}
	return &DB{
		path: path, opt: opt, sql: sqldb.NewRewriter(sqldb.SQLite),
		urgent: make(chan *member, groupLimit), queue: make(chan *member, groupLimit), tasks: make(chan task),
		lists: make(chan struct{}, readers/2), readers: make(readerPool, readers), workReaders: make(readerPool, workReaders),
		reserve: reserve{path: path + ".reserve", size: opt.Reserve},
		closing: make(chan struct{}), stopped: make(chan struct{}),
	}
}

func open(path string, opt Options) (*DB, error) {
	db := newDB(path, opt)
	ctx := context.Background() //nolint:forbidigo // the connections live as long as the driver
	if err := db.start(ctx); err != nil {
		return nil, mapError(fmt.Errorf("open %s: %w", path, errors.Join(err, db.release())))
	}
	db.wg.Go(db.write)
	db.wg.Go(db.maintainFiles)
	return db, nil
}

const (
	// The WAL is synced at every commit. Automatic checkpoints are off: maintainFiles
	// checkpoints concurrently with the writer. The statement journals of savepoints
	// are in memory.
	writerPragmas = "_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=wal_autocheckpoint(0)" +
		"&_pragma=journal_size_limit(67108864)" +
		"&_pragma=foreign_keys(1)&_pragma=temp_store(MEMORY)&_pragma=cache_size(-65536)"
	readerPragmas = "_pragma=query_only(1)&_pragma=cache_size(-8192)"
)

func (db *DB) start(ctx context.Context) (err error) {
	if err := os.MkdirAll(filepath.Dir(db.path), 0o700); err != nil {
		return err
	}
	if err := db.checkEmpty(); err != nil {
		return err
	}
	if err := createPrivate(db.path); err != nil {
		return err
	}
	if db.opt.Existing {
		err = db.checkLevel(ctx)
	} else {
		err = db.migrate(ctx)
	}
	if err != nil {
		return err
	}
	if db.writer, err = db.connect(ctx, writerPragmas); err != nil {
		return err
	}
	if db.checkpoints, err = db.connect(ctx, readerPragmas); err != nil {
		return err
	}
	for _, pool := range [...]readerPool{db.readers, db.workReaders} {
		if err := pool.open(ctx, db); err != nil {
			return err
		}
		db.opened = append(db.opened, pool)
	}
	if db.file, err = os.Stat(db.path); err != nil {
		return err
	}
	if err := db.reserve.hold(); err != nil {
		db.full.Store(true)
		db.opt.Log.ErrorContext(ctx, "disk nearly full; rejecting new work until space is freed", "err", err)
	}
	return db.load()
}

func (db *DB) dsn(params string) string {
	name := url.URL{Scheme: "file", Opaque: (&url.URL{Path: db.path}).EscapedPath()}
	return name.String() + "?_pragma=busy_timeout(10000)&" + params
}

// createPrivate creates a file that only its owner can read, unless it exists. SQLite
// gives the same mode to the WAL and its index.
func createPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func checkVersion(v string) error {
	if versionLess(v, minVersion) {
		return hostler.Errorf(hostler.CodeInternal, "SQLite %s is too old: %s or newer is required",
			"SQLite %s 过旧：需要 %s 或更新版本", v, minVersion)
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

// load initializes the driver's state in memory: the newest id, the current segment and
// its number of rows.
func (db *DB) load() error {
	if db.opt.migrations != "main" {
		return nil
	}
	var err error
	if db.ids.last, err = db.newestID(); err != nil {
		return err
	}
	segment, err := db.writer.number(`SELECT max(n) FROM segment`)
	if err != nil {
		return err
	}
	db.segment.Store(segment)
	db.rows, err = db.writer.number(`SELECT count(*) FROM ` + segmentName(segment))
	return err
}

// newestID returns the largest id of all tables with ids; new ids must be larger. It
// reads the segments, each with one index probe, because max(id) over the view of the
// history would scan it. The ids of runs are skipped, because the ids of a run's jobs
// are larger.
func (db *DB) newestID() (int64, error) {
	tables, err := db.writer.texts(`SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c
WHERE m.type = 'table' AND c.name = 'id'`)
	if err != nil {
		return 0, err
	}
	var newest int64
	for _, t := range tables {
		id, err := db.writer.number(`SELECT max(id) FROM ` + t)
		if err != nil {
			return 0, err
		}
		newest = max(newest, id)
	}
	return newest, nil
}

// Name implements sqldb.Driver.
func (db *DB) Name() string { return "sqlite" }

// Now implements sqldb.Driver. It returns the clock of this process.
func (db *DB) Now() time.Time { return db.opt.Now().UTC() }

// View implements sqldb.Driver. The reads of requests have fewer connections and a
// shorter timeout than those of the queue.
func (db *DB) View(ctx context.Context, fn func(c sqldb.Conn) error) error {
	limit, further := workReadLimit, db.workReaders
	class := sqldb.ClassOf(ctx)
	if class <= sqldb.Requests {
		limit, further = requestReadLimit, nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if class <= sqldb.Lists {
		select {
		case db.lists <- struct{}{}:
			defer func() { <-db.lists }()
		case <-ctx.Done():
			return errBusy(ctx.Err())
		}
	}
	c, back, err := db.reader(ctx, further)
	if err != nil {
		return err
	}
	c.ctx = ctx
	defer func() {
		c.ctx = context.WithoutCancel(ctx)
		back <- c
	}()
	return mapError(c.view(fn))
}

// reader returns an idle reading connection, and the pool to return it to.
func (db *DB) reader(ctx context.Context, further readerPool) (c *conn, back readerPool, err error) {
	select {
	case c = <-db.readers:
		return c, db.readers, nil
	case c = <-further:
		return c, further, nil
	case <-ctx.Done():
		return nil, nil, errBusy(ctx.Err())
	case <-db.closing:
		return nil, nil, errClosed()
	}
}

// view runs fn in a read transaction and rolls it back afterwards, also after a panic.
func (c *conn) view(fn func(c sqldb.Conn) error) (err error) {
	if err := c.control("BEGIN"); err != nil {
		return err
	}
	defer func() {
		c.closeRows()
		if p := recover(); p != nil {
			err = errFault(fmt.Errorf("panic in a view: %v\n%s", p, debug.Stack()))
		}
		if rerr := c.control("ROLLBACK"); err == nil {
			err = rerr
		}
	}()
	return fn(c)
}

// Stats implements sqldb.Driver.
func (db *DB) Stats(ctx context.Context) (sqldb.Stats, error) {
	start := time.Now()
	s := sqldb.Stats{
		Kind: "sqlite", PoolMax: readers + workReaders + 1,
		PoolInUse: readers + workReaders - len(db.readers) - len(db.workReaders),
	}
	err := db.View(ctx, func(c sqldb.Conn) error {
		rows, err := c.Query(ctx, `SELECT sqlite_version(),
(SELECT page_count FROM pragma_page_count()) * (SELECT page_size FROM pragma_page_size())`)
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

// Close implements sqldb.Driver. It commits the queued transactions first.
func (db *DB) Close() error {
	db.closed.Do(func() {
		close(db.closing)
		db.wg.Wait()
		db.closeErr = db.release()
	})
	return db.closeErr
}

// release waits for running views and closes the connections that were opened. SQLite
// checkpoints the WAL when the last one is closed.
func (db *DB) release() error {
	var errs []error
	for _, pool := range db.opened {
		errs = append(errs, pool.close(cap(pool)))
	}
	for _, c := range [...]*conn{db.checkpoints, db.writer} {
		if c != nil {
			errs = append(errs, c.close())
		}
	}
	return errors.Join(errs...)
}
