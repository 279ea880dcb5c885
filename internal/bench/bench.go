// Package bench measures what the engine can do on this machine: the durable
// lifecycle of jobs that do nothing, from enqueue to history, through the real
// engine and the real worker.
//
// Model: a run is some rounds; each round measures every scenario once and then
// the ceiling, so that a drift of the machine meets all alike. A job counts when
// its report was acknowledged, which is after the commit. The ceiling is bare SQL
// on the same driver with the same durability: three transactions per batch that
// insert jobs, move them to running and move them to history, deciding nothing.
package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/postgres"
	"hostler.dev/hostler/internal/store/sqlite"
)

// Options say what to measure.
type Options struct {
	// DB is postgres://… or sqlite:PATH; "" is a SQLite file in a temporary
	// folder. The database must hold no jobs.
	DB     string
	Jobs   int           // of one scenario
	Slots  int           // of the worker
	Lanes  []int         // a scenario for each; 0 is no lane
	Rounds int           // at least 1
	Work   time.Duration // how long a job's action takes; 0 is nothing
	Steady time.Duration // how long the half load runs; 0 means 3 s
	Batch  int           // jobs of one enqueue, in the engine's run and the ceiling's; 0 means 100
	// Progress, unless nil, is told what is measured now.
	Progress func(what string)
}

// argBytes is the size of a job's args.
const argBytes = 200

// Row is what one scenario showed, over all rounds.
type Row struct {
	Scenario  string  `json:"scenario"`
	JobsPerS  float64 `json:"jobs_per_s"` // median of the rounds
	Min       float64 `json:"min"`
	Max       float64 `json:"max"`
	Share     float64 `json:"share_of_ceiling"` // 0 to 1
	CPUMicros float64 `json:"cpu_us_per_job"`   // of this process
	WALBytes  float64 `json:"wal_bytes_per_job"`
	StartP50  float64 `json:"start_p50_ms,omitempty"` // enqueue to start, at half load
	StartP99  float64 `json:"start_p99_ms,omitempty"`
}

// Report is the result of a run.
type Report struct {
	Store      string `json:"store"`
	Durability string `json:"durability"`
	Machine    string `json:"machine"`
	Jobs       int    `json:"jobs"`
	Slots      int    `json:"slots"`
	Rounds     int    `json:"rounds"`
	Rows       []Row  `json:"rows"`
}

// Run measures. It makes its queue and project in the database and leaves the
// history of its jobs behind.
func Run(ctx context.Context, o Options) (Report, error) {
	o = o.withDefaults()
	db, log, clean, err := open(ctx, o)
	if err != nil {
		return Report{}, err
	}
	defer clean()
	b := &bench{o: o, db: db, store: store.New(db, log)}
	stats, err := db.Stats(ctx)
	if err != nil {
		return Report{}, err
	}
	if err := b.prepare(ctx); err != nil {
		return Report{}, err
	}
	if err := b.measure(ctx); err != nil {
		return Report{}, err
	}
	r := Report{
		Store: stats.Kind + " " + stats.Version, Durability: durability(db), Jobs: o.Jobs, Slots: o.Slots, Rounds: o.Rounds,
		Machine: fmt.Sprintf("%s/%s, %d CPUs, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version()),
	}
	r.Rows = b.rows()
	return r, nil
}

func durability(db sqldb.Driver) string {
	if db.Name() == string(sqldb.SQLite) {
		return "WAL, synchronous=FULL: an fsync for each group of commits"
	}
	return "fsync=on, synchronous_commit=on"
}

func (o Options) withDefaults() Options {
	if o.Jobs == 0 {
		o.Jobs = 50_000
	}
	if o.Slots == 0 {
		o.Slots = 1000
	}
	if o.Lanes == nil {
		o.Lanes = []int{0, 500, 50_000}
	}
	if o.Steady == 0 {
		o.Steady = 3 * time.Second
	}
	if o.Batch == 0 {
		o.Batch = 100
	}
	o.Rounds = max(1, o.Rounds)
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	return o
}

func open(ctx context.Context, o Options) (db, log sqldb.Driver, clean func(), err error) {
	if dsn, ok := strings.CutPrefix(o.DB, "postgres"); ok {
		pg, err := postgres.Open(ctx, "postgres"+dsn, postgres.Options{})
		if err != nil {
			return nil, nil, nil, err
		}
		return pg, pg, func() { _ = pg.Close() }, nil
	}
	path, ok := strings.CutPrefix(o.DB, "sqlite:")
	remove := func() {}
	if !ok {
		dir, err := os.MkdirTemp("", "hostler-bench-")
		if err != nil {
			return nil, nil, nil, fmt.Errorf("make a folder for the database: %w", err)
		}
		path, remove = filepath.Join(dir, "bench.db"), func() { _ = os.RemoveAll(dir) }
	}
	main, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		remove()
		return nil, nil, nil, err
	}
	output, err := sqlite.OpenLog(path+"-output", sqlite.Options{})
	if err != nil {
		err = errors.Join(err, main.Close())
		remove()
		return nil, nil, nil, err
	}
	return main, output, func() {
		_ = main.Close()
		_ = output.Close()
		remove()
	}, nil
}

// bench is one run.
type bench struct {
	o       Options
	db      sqldb.Driver
	store   *store.Store
	project hostler.ProjectID
	rounds  map[string][]sample
	order   []string
}

// sample is one scenario of one round.
type sample struct {
	rate, cpu, wal float64
	p50, p99       float64
}

const (
	benchQueue = "bench"
	ceiling    = "ceiling: bare SQL"
)

// prepare refuses a database that is in use: the figures would be wrong, and the
// benchmark's jobs would end up among real ones.
func (b *bench) prepare(ctx context.Context) error {
	return b.store.InTx(ctx, func(tx *store.Tx) error {
		queues, err := tx.Queues()
		if err != nil {
			return err
		}
		for _, q := range queues {
			if q.Name != benchQueue {
				return hostler.Errorf(hostler.CodeConflict,
					"this database belongs to a server: it has the queue %q; give the benchmark one of its own",
					"该数据库正被服务使用（已有队列 %q）；请为基准测试使用单独的数据库", q.Name)
			}
		}
		_, err = tx.SetQueue(benchQueue, store.QueueChange{})
		b.project = 1
		return err
	})
}

func (b *bench) measure(ctx context.Context) error {
	b.rounds = map[string][]sample{}
	for round := range b.o.Rounds {
		for _, lanes := range b.o.Lanes {
			name := scenarioName(lanes)
			b.o.Progress(fmt.Sprintf("round %d of %d: %s", round+1, b.o.Rounds, name))
			s, err := b.lifecycle(ctx, lanes)
			if err != nil {
				return err
			}
			b.note(name, s)
		}
		b.o.Progress(fmt.Sprintf("round %d of %d: %s", round+1, b.o.Rounds, ceiling))
		s, err := b.bare(ctx)
		if err != nil {
			return err
		}
		b.note(ceiling, s)
	}
	return nil
}

func scenarioName(lanes int) string {
	if lanes == 0 {
		return "no lanes"
	}
	return fmt.Sprintf("%d lanes", lanes)
}

func (b *bench) note(name string, s sample) {
	if b.rounds[name] == nil {
		b.order = append(b.order, name)
	}
	b.rounds[name] = append(b.rounds[name], s)
}

// rows sums the rounds up.
func (b *bench) rows() []Row {
	top := median(b.rounds[ceiling], func(s sample) float64 { return s.rate })
	rows := make([]Row, len(b.order))
	for i, name := range b.order {
		ss := b.rounds[name]
		rates := make([]float64, len(ss))
		for j, s := range ss {
			rates[j] = s.rate
		}
		rate := median(ss, func(s sample) float64 { return s.rate })
		rows[i] = Row{
			Scenario: name, JobsPerS: rate, Min: slices.Min(rates), Max: slices.Max(rates), Share: rate / top,
			CPUMicros: median(ss, func(s sample) float64 { return s.cpu }), WALBytes: median(ss, func(s sample) float64 { return s.wal }),
			StartP50: median(ss, func(s sample) float64 { return s.p50 }), StartP99: median(ss, func(s sample) float64 { return s.p99 }),
		}
	}
	return rows
}

func median(ss []sample, of func(sample) float64) float64 {
	vs := make([]float64, len(ss))
	for i, s := range ss {
		vs[i] = of(s)
	}
	slices.Sort(vs)
	return vs[len(vs)/2]
}

// args makes the args of a job: the time at which it was enqueued, and padding.
func args(at time.Time) json.RawMessage {
	head := fmt.Sprintf(`{"at":%d,"pad":"`, at.UnixMicro())
	return json.RawMessage(head + strings.Repeat("x", max(0, argBytes-len(head)-2)) + `"}`)
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
