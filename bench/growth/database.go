package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/postgres"
	"hostler.dev/hostler/internal/store/sqlite"
	"hostler.dev/hostler/internal/store/storetest"
)

// source creates databases of one kind in a temporary folder.
type source struct {
	o       options
	dir     string // of SQLite
	cluster *storetest.Cluster
	made    int
}

func newSource(kind string, o options) (*source, error) {
	if kind == string(sqldb.Postgres) {
		c, err := storetest.StartCluster()
		return &source{o: o, cluster: c}, err
	}
	dir, err := os.MkdirTemp("", "hostler-growth-")
	return &source{o: o, dir: dir}, err
}

func (s *source) close() {
	if s.cluster != nil {
		s.cluster.Stop()
		return
	}
	_ = os.RemoveAll(s.dir)
}

// database is a database with a number of queues.
type database struct {
	open    func(ctx context.Context) (db, log sqldb.Driver, err error)
	remove  func() error
	db, log sqldb.Driver
	store   *store.Store
	queues  int
	ended   int
	oldest  hostler.JobID // of the seeded history; 0: none
	newest  time.Time     // end of the seeded history
	worker  hostler.WorkerID
}

// The projects: one has nearly all jobs.
const large, small = 1, 2

func (s *source) database(ctx context.Context, queues int) (*database, error) {
	s.made++
	b := &database{queues: queues, newest: time.Now().Truncate(24 * time.Hour)}
	name := fmt.Sprint("growth", s.made)
	if s.cluster != nil {
		conn, err := pgx.Connect(ctx, s.cluster.DSN("postgres"))
		if err != nil {
			return nil, err
		}
		defer func() { _ = conn.Close(ctx) }()
		if _, err := conn.Exec(ctx, "CREATE DATABASE "+name); err != nil {
			return nil, err
		}
		b.open = func(ctx context.Context) (db, log sqldb.Driver, err error) {
			pg, err := postgres.Open(ctx, s.cluster.DSN(name), postgres.Options{
				Timeout: 10 * time.Minute, ReadTimeout: 10 * time.Minute,
			})
			return pg, pg, err
		}
		b.remove = func() error { return s.drop(context.WithoutCancel(ctx), name) }
	} else {
		dir := filepath.Join(s.dir, name)
		// As many segments as a server with few jobs gets, which starts one when a thirtieth
		// of the retention has passed; at least what a busy one gets.
		most := s.o.ended[len(s.o.ended)-1]
		opt := sqlite.Options{SegmentRows: int64(max(10_000, min(250_000, most/30)))}
		b.open = func(context.Context) (db, log sqldb.Driver, err error) {
			if db, err = sqlite.Open(filepath.Join(dir, "hostler.db"), opt); err != nil {
				return nil, nil, err
			}
			log, err = sqlite.OpenLog(filepath.Join(dir, "log.db"), opt)
			return db, log, err
		}
		b.remove = func() error { return os.RemoveAll(dir) }
	}
	if err := b.start(ctx); err != nil {
		return nil, err
	}
	return b, b.prepare(ctx)
}

// drop frees the space for the next database.
func (s *source) drop(ctx context.Context, name string) error {
	conn, err := pgx.Connect(ctx, s.cluster.DSN("template1"))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
	return errors.Join(err, conn.Close(ctx))
}

func (b *database) start(ctx context.Context) (err error) {
	if b.db, b.log, err = b.open(ctx); err == nil {
		b.store = store.New(b.db, b.log)
	}
	return err
}

func (b *database) close() error { return errors.Join(b.store.Close(), b.remove()) }

func (b *database) queue(i int) string { return fmt.Sprint("q", i%b.queues) }

func (b *database) prepare(ctx context.Context) error {
	return b.store.InTx(ctx, func(tx *store.Tx) error {
		depth := 10_000_000
		for i := range b.queues {
			if _, err := tx.SetQueue(b.queue(i), store.QueueSettings{MaxDepth: &depth}); err != nil {
				return err
			}
		}
		for id, name := range map[int]string{large: "large", small: "small"} {
			_, err := tx.Exec(`INSERT INTO project (id, name, created_at) VALUES (?, ?, 0) ON CONFLICT (id) DO NOTHING`, id, name)
			if err != nil {
				return err
			}
		}
		var err error
		b.worker, err = tx.RegisterWorker(hostler.WorkerInfo{Name: "growth", Queues: []string{"*"}, Slots: 1})
		return err
	})
}

const (
	actions, assets = 20, 5000
	enqueueStep     = 500
)

func (b *database) spec(i int) hostler.JobSpec {
	s := hostler.JobSpec{
		Project: large, Queue: b.queue(i), Action: fmt.Sprint("a", i%actions), Args: []byte(`{}`),
		Priority: hostler.PriorityDefault, MaxAttempts: 1, OnLost: hostler.OnLostRetry,
		OnUnknown: hostler.OnUnknownHold, OnRetry: hostler.OnRetryHold, CreatedBy: "growth",
	}
	if i%2 == 0 {
		s.Asset = hostler.AssetID(1 + i%assets)
		s.LaneKey, s.LaneLimit = hostler.AssetLaneKey(s.Asset.String()), 1
	}
	return s
}

// enqueueMany queues jobs, half of them in lanes.
func (b *database) enqueueMany(ctx context.Context, n int) error {
	for from := 0; from < n; from += enqueueStep {
		specs := make([]hostler.JobSpec, min(enqueueStep, n-from))
		for i := range specs {
			specs[i] = b.spec(from + i)
		}
		err := b.store.InTx(ctx, func(tx *store.Tx) error {
			_, err := tx.Enqueue(specs)
			return err
		})
		if err := errors.Join(err, b.sum(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// sum adds up the counts of what waits, as the engine does all the time.
func (b *database) sum(ctx context.Context) error {
	return b.store.InTx(ctx, func(tx *store.Tx) error {
		_, err := tx.SumCounts(10_000)
		return err
	})
}

// pages makes the rows of a seed such that each list has a page.
var pages = strings.NewReplacer(
	`CASE WHEN i % 997 = 5 THEN 2 ELSE 1 END`, `CASE WHEN i % 5 = 4 THEN 2 ELSE 1 END`,
	`(i % ?)`, `(7 % ?)`, `(i % 20)`, `7`, `1 + i % 5000`, `17`, `i % 50`, `7 + i % 3`,
)

// seedPages adds the jobs that the lists show when there is no other history: older than it.
func (b *database) seedPages(ctx context.Context, days int) error {
	return b.seedDay(ctx, pages.Replace(seedSQL), 300, b.newest.Add(-time.Duration(days+1)*24*time.Hour), 0)
}

// The history of n jobs, evenly over a day from an id and a time on.
const seedSQL = ` (id, project, run, queue, action, asset, asset_name, lane_key, lane_lim, prio, state, attempt,
max_attempts, backoff, timeout, on_lost, on_unknown, on_retry, run_at, expires_at, retry_of, created_by, created_at,
queued_at, started_at, ended_at, worker, fence, args, result, error, output)
WITH RECURSIVE g(i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM g WHERE i + 1 < ?)
SELECT ? + i * ?, CASE WHEN i % 997 = 5 THEN 2 ELSE 1 END, ? + i * ? - 1, 'q' || (i % ?), 'a' || (i % 20), 1 + i % 5000,
'', '', 0, 5, CASE i % 50 WHEN 7 THEN 'failed' WHEN 8 THEN 'expired' ELSE 'succeeded' END, 1,
1, '', 0, 'retry', 'hold', 'hold', 0, 0, 0, 'growth', ? + i * ?,
? + i * ?, ? + i * ?, ? + i * ?, 1, 1, ?, '{}', '', ? FROM g`

// seed adds history up to n jobs. What is added is over all days.
func (b *database) seed(ctx context.Context, n, days int) error {
	add := (n - b.ended) / days
	for day := range days {
		if add == 0 {
			break
		}
		// Another part of the id for each round, so that no two have one id.
		part := int64(b.ended%1_000_000)/1000 + 1
		if err := b.seedDay(ctx, seedSQL, add, b.newest.Add(time.Duration(day-days)*24*time.Hour), part); err != nil {
			return err
		}
	}
	b.ended += add * days
	if b.db.Name() == string(sqldb.Postgres) { // as autovacuum does
		if err := b.exec(ctx, `ANALYZE`); err != nil {
			return err
		}
	}
	return b.span(ctx)
}

// seedDay adds n jobs over a day.
func (b *database) seedDay(ctx context.Context, sql string, n int, start time.Time, part int64) error {
	perJob := 24 * time.Hour / time.Duration(n)
	id, idStep := hostler.MakeID(start.Unix(), 0)+part, int64(86_400<<21)/int64(n)
	if b.oldest == 0 {
		b.oldest = hostler.JobID(id)
	}
	at, atStep := start.UnixMicro(), perJob.Microseconds()
	return b.db.InTx(ctx, func(c sqldb.Conn) error {
		_, err := c.Exec(ctx, `INSERT INTO `+c.InsertTable("done")+sql, n, id, idStep, id, idStep, b.queues,
			at, atStep, at, atStep, at, atStep, at, atStep, `{"pad":"`+strings.Repeat("x", 190)+`"}`, []byte{})
		return err
	})
}

func (b *database) exec(ctx context.Context, sql string) error {
	return b.db.InTx(ctx, func(c sqldb.Conn) error {
		_, err := c.Exec(ctx, sql)
		return err
	})
}

// span does what upkeep does with parts of the history that get no more jobs. Those of an
// earlier round got more.
func (b *database) span(ctx context.Context) error {
	if err := b.exec(ctx, `DELETE FROM history_span`); err != nil {
		return err
	}
	var parts []string
	err := b.store.View(ctx, func(tx *store.Tx) (err error) {
		parts, err = tx.UnspannedParts(100_000)
		return err
	})
	for _, part := range parts {
		if err != nil {
			return err
		}
		err = b.store.InTx(ctx, func(tx *store.Tx) error {
			spans, err := tx.SpansOf(part)
			if err != nil {
				return err
			}
			return tx.InsertSpans(spans)
		})
	}
	return err
}
