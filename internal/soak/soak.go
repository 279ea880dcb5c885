// Package soak runs a server's parts for a long time and watches what grows.
//
// # Model
//
// [Run] makes jobs at a steady rate, each with an idempotency key and a lane of its own,
// works them off, and delivers their ends to a webhook. Every hundredth fails once. The
// engine, the publisher, the notifier and the worker are those of a server; the requests
// are calls of package app.
//
// What is kept for a day or for the retention is kept by the clock of the database. That
// clock is stepped by an hour now and then, so that days pass in minutes and every table
// can reach the size at which it stays. The server must bear such steps anyway.
//
// A table has levelled off when it did not grow in the second half of the run.
package soak

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/postgres"
	"hostler.dev/hostler/internal/store/sqlite"
)

// Options are what [Run] does.
type Options struct {
	DB       string        // postgres://…; "" means SQLite in a temporary folder
	Rate     int           // jobs a second; 0 means 200
	Duration time.Duration // 0 means an hour
	Day      time.Duration // how long a day takes, and the retention; 0 means 12 minutes
	Every    time.Duration // between two samples; 0 means a minute
	// Sampled is called with each sample.
	Sampled func(s Sample)
	Log     *slog.Logger // nil: discard
}

// Sample is the state of a run at one time.
type Sample struct {
	After   time.Duration
	Made    int64            // jobs
	Ended   int64            // attempts that were reported
	Sent    int64            // requests that the webhook's receiver got
	Refused int64            // requests that failed and were made again
	Rows    map[string]int64 // by table
	Bytes   int64            // of the database
	Heap    uint64           // of this process
}

// Result is the outcome of a run.
type Result struct {
	Samples []Sample
	// Growing are the tables that had more rows in the last quarter than before.
	Growing []string
}

const (
	day       = 24 * time.Hour
	clockStep = time.Hour
	// A table that stays may grow by a quarter, because upkeep and the retention work in
	// rounds, and by as many rows as slackTime makes.
	slackShare = 1.25
	slackTime  = 2 * time.Second
)

func (o Options) withDefaults() Options {
	if o.Rate == 0 {
		o.Rate = 200
	}
	if o.Duration == 0 {
		o.Duration = time.Hour
	}
	if o.Day == 0 {
		o.Day = 12 * time.Minute
	}
	if o.Every == 0 {
		o.Every = time.Minute
	}
	if o.Sampled == nil {
		o.Sampled = func(Sample) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// clock is the database's clock, which is stepped.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// run steps the clock until ctx is done, so that a day passes in the given time.
func (c *clock) run(ctx context.Context, dayTakes time.Duration) error {
	t := time.NewTicker(max(time.Millisecond, dayTakes/(day/clockStep)))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			c.ahead.Add(int64(clockStep))
		}
	}
}

// databases are the open drivers: the main one, and that of the output.
type databases struct {
	main, output sqldb.Driver
	close        func() error
}

// open opens the databases; SQLite has its files in dir.
func open(ctx context.Context, o Options, c *clock, dir string) (databases, error) {
	if o.DB != "" {
		db, err := postgres.Open(ctx, o.DB, postgres.Options{Now: c.now, Log: o.Log})
		if err != nil {
			return databases{}, err
		}
		return databases{db, db, db.Close}, nil
	}
	// Segments are dropped whole: a day holds several.
	opt := sqlite.Options{Now: c.now, Log: o.Log, SegmentRows: max(100, int64(o.Rate)*int64(o.Day/time.Second)/4)}
	main, err := sqlite.Open(filepath.Join(dir, "hostler.db"), opt)
	if err != nil {
		return databases{}, err
	}
	output, err := sqlite.OpenLog(filepath.Join(dir, "log.db"), opt)
	if err != nil {
		return databases{}, errors.Join(err, main.Close())
	}
	return databases{main, output, func() error { return errors.Join(main.Close(), output.Close()) }}, nil
}

// Run runs until the duration has passed, or ctx is done, which is not an error.
func Run(ctx context.Context, o Options) (res Result, err error) {
	o = o.withDefaults()
	var c clock
	dir, err := os.MkdirTemp("", "hostler-soak-")
	if err != nil {
		return res, fmt.Errorf("make a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	dbs, err := open(ctx, o, &c, dir)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, dbs.close()) }()
	s, err := newServer(ctx, o, dir, store.New(dbs.main, dbs.output))
	if err != nil {
		return res, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.Duration)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.run(ctx) })
	g.Go(func() error { return s.produce(ctx, o.Rate) })
	g.Go(func() error { return c.run(ctx, o.Day) })
	g.Go(func() error {
		res.Samples, err = sample(ctx, o, dbs, s)
		return err
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return res, err
	}
	res.Growing = growing(res.Samples, int64(o.Rate))
	return res, nil
}

// sample samples until ctx is done.
func sample(ctx context.Context, o Options, dbs databases, s *server) (all []Sample, err error) {
	began := time.Now()
	t := time.NewTicker(o.Every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return all, nil
		case <-t.C:
		}
		rows, bytes, err := sizes(ctx, dbs)
		if ctx.Err() != nil {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		one := Sample{
			After: time.Since(began), Made: s.made.Load(), Ended: s.ended.Load(), Sent: s.sent.Load(),
			Refused: s.refused.Load(), Rows: rows, Bytes: bytes, Heap: m.HeapAlloc,
		}
		all = append(all, one)
		o.Sampled(one)
	}
}

// tables are the tables of each database; partitions and segments of the history are one.
var tables = map[string]string{
	string(sqldb.SQLite):   `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'`,
	string(sqldb.Postgres): `SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename`,
}

// sizes counts the rows of every table.
func sizes(ctx context.Context, dbs databases) (rows map[string]int64, bytes int64, err error) {
	rows = map[string]int64{}
	drivers := []sqldb.Driver{dbs.main}
	if dbs.output != dbs.main {
		drivers = append(drivers, dbs.output)
	}
	for _, d := range drivers {
		d = sqldb.Classed(d, sqldb.Work)
		stats, err := d.Stats(ctx)
		if err != nil {
			return nil, 0, err
		}
		bytes += stats.SizeBytes
		names, err := texts(ctx, d, tables[d.Name()])
		if err != nil {
			return nil, 0, err
		}
		for _, name := range names {
			if name == "done" || strings.HasPrefix(name, "goose") { // its partitions are counted
				continue
			}
			n, err := count(ctx, d, name)
			if err != nil {
				continue // a segment that was dropped since
			}
			kind := name
			if rest, ok := strings.CutPrefix(name, "done_"); ok && rest != "" {
				kind = "done"
			}
			rows[kind] += n
		}
	}
	return rows, bytes, nil
}

func texts(ctx context.Context, d sqldb.Driver, sql string) (out []string, err error) {
	err = d.View(ctx, func(c sqldb.Conn) error {
		out = nil
		rows, err := c.Query(ctx, sql)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				return err
			}
			out = append(out, name)
		}
		return rows.Err()
	})
	return out, err
}

func count(ctx context.Context, d sqldb.Driver, table string) (n int64, err error) {
	err = d.View(ctx, func(c sqldb.Conn) error {
		rows, err := c.Query(ctx, `SELECT count(*) FROM `+table)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			if err := rows.Scan(&n); err != nil {
				return err
			}
		}
		return rows.Err()
	})
	return n, err
}

// growing returns the tables whose largest size in the last quarter of the run exceeds
// the largest one of the quarter before it by more than the slack.
func growing(samples []Sample, rate int64) (out []string) {
	q := len(samples) / 4
	if q == 0 {
		return nil
	}
	largest := func(part []Sample, table string) (n int64) {
		for _, s := range part {
			n = max(n, s.Rows[table])
		}
		return n
	}
	last, before := samples[len(samples)-q:], samples[len(samples)-2*q:len(samples)-q]
	for _, table := range slices.Sorted(maps.Keys(samples[len(samples)-1].Rows)) {
		was, is := largest(before, table), largest(last, table)
		if float64(is) > slackShare*float64(was)+float64(rate)*slackTime.Seconds() {
			out = append(out, table)
		}
	}
	return out
}
