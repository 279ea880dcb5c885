// Package bench measures the engine on this machine: the durable lifecycle of jobs
// that do nothing, from enqueue to history, through the real engine and worker.
//
// # Model
//
// A run consists of rounds. Each round measures every scenario once and then the
// ceiling, so that a machine that becomes slower affects all of them alike; a row of
// the report has the medians.
//
//   - A scenario is a number of lanes. Its jobs are first worked off as fast as
//     possible, for the rate and the costs; then they arrive at half that rate, for the
//     delay from enqueue to start.
//   - The ceiling is bare SQL on the same driver with the same durability: three
//     transactions per batch that insert jobs, move them to running and move them to
//     history, without a decision. A scenario's share of it is what the engine leaves of
//     the database's speed.
//
// A job counts when its report was acknowledged, which is after the commit.
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

// Options are what [Run] measures.
type Options struct {
	// DB is postgres://… or sqlite:PATH; "" means a SQLite file in a temporary
	// folder. The database must not belong to a server.
	DB     string
	Jobs   int           // of one scenario
	Slots  int           // of the worker
	Lanes  []int         // numbers of lanes, a scenario each; 0 means jobs without a lane
	Rounds int           // at least 1
	Work   time.Duration // how long a job's action takes
	Steady time.Duration // how long the half load runs; 0 means 3 s
	Batch  int           // jobs of one enqueue, and of a transaction of the ceiling; 0 means 100
	// Progress, unless nil, is called before each measurement.
	Progress func(what hostler.Text)
}

// argBytes is the size of a job's args, as in the benchmarks of other queues.
const argBytes = 200

// Row has the figures of one scenario, over all rounds.
type Row struct {
	Scenario  string       `json:"scenario"`
	Title     hostler.Text `json:"-"`          // the scenario in both languages
	JobsPerS  float64      `json:"jobs_per_s"` // median of the rounds
	Min       float64      `json:"min"`
	Max       float64      `json:"max"`
	Share     float64      `json:"share_of_ceiling"` // 0 to 1
	CPUMicros float64      `json:"cpu_us_per_job"`   // of this process, which contains SQLite but not PostgreSQL
	WALBytes  float64      `json:"wal_bytes_per_job"`
	StartP50  float64      `json:"start_p50_ms,omitempty"` // enqueue to start, at half load
	StartP99  float64      `json:"start_p99_ms,omitempty"`
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

// Run measures the engine. It creates a queue in the database, and leaves it and the
// history of the jobs there.
func Run(ctx context.Context, o Options) (Report, error) {
	o = o.withDefaults()
	db, log, cleanup, err := open(ctx, o)
	if err != nil {
		return Report{}, err
	}
	defer cleanup()
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
		Store: stats.Kind + " " + stats.Version, Durability: durability(db),
		Jobs: o.Jobs, Slots: o.Slots, Rounds: o.Rounds,
		Machine: fmt.Sprintf("%s/%s, %d CPUs, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version()),
	}
	r.Rows = b.report()
	return r, nil
}

// durability states what a commit of the store guarantees: figures are comparable only
// between stores that guarantee the same.
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
		o.Progress = func(hostler.Text) {}
	}
	return o
}

// open opens the database of a run, and the one of its jobs' output; cleanup closes
// both, and deletes them when they are temporary.
func open(ctx context.Context, o Options) (db, log sqldb.Driver, cleanup func(), err error) {
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
	rows    []measured // in the order of the report
}

// measured has the samples of a scenario, one a round.
type measured struct {
	title   hostler.Text
	samples []sample
}

// sample has the figures of a scenario in one round.
type sample struct {
	rate, cpu, wal float64
	p50, p99       float64
}

const benchQueue = "bench"

// prepare creates the queue. It refuses a database that is in use: the figures would
// be wrong, and the jobs of the benchmark would be listed among real ones.
func (b *bench) prepare(ctx context.Context) error {
	return b.store.InTx(ctx, func(tx *store.Tx) error {
		queues, err := tx.Queues()
		if err != nil {
			return err
		}
		for _, q := range queues {
			if q.Name != benchQueue {
				return hostler.Errorf(hostler.CodeConflict,
					"this database belongs to a server (it has the queue %q); use a separate one for the benchmark",
					"该数据库正被服务使用（已有队列 %q）；请为基准测试使用单独的数据库", q.Name)
			}
		}
		_, err = tx.SetQueue(benchQueue, store.QueueSettings{})
		b.project = 1
		return err
	})
}

// measure runs the rounds.
func (b *bench) measure(ctx context.Context) error {
	for round := range b.o.Rounds {
		for i, lanes := range b.o.Lanes {
			err := b.sample(round, i, scenario(lanes), func() (sample, error) { return b.lifecycle(ctx, lanes) })
			if err != nil {
				return err
			}
		}
		err := b.sample(round, len(b.o.Lanes), ceiling(), func() (sample, error) { return b.bare(ctx) })
		if err != nil {
			return err
		}
	}
	return nil
}

// sample measures a row of the report once.
func (b *bench) sample(round, row int, title hostler.Text, measure func() (sample, error)) error {
	b.o.Progress(hostler.Text{
		EN: fmt.Sprintf("round %d of %d: %s", round+1, b.o.Rounds, title.EN),
		ZH: fmt.Sprintf("第 %d/%d 轮：%s", round+1, b.o.Rounds, title.ZH),
	})
	s, err := measure()
	if err != nil {
		return err
	}
	if row == len(b.rows) {
		b.rows = append(b.rows, measured{title: title})
	}
	b.rows[row].samples = append(b.rows[row].samples, s)
	return nil
}

func scenario(lanes int) hostler.Text {
	if lanes == 0 {
		return hostler.Text{EN: "no lanes", ZH: "无通道"}
	}
	return hostler.Textf("%d lanes", "%d 个通道", lanes)
}

func ceiling() hostler.Text { return hostler.Text{EN: "ceiling: bare SQL", ZH: "上限：裸 SQL"} }

// report returns the medians of the rounds. The last row is the ceiling.
func (b *bench) report() []Row {
	rate := func(s sample) float64 { return s.rate }
	top := median(b.rows[len(b.rows)-1].samples, rate)
	rows := make([]Row, len(b.rows))
	for i, m := range b.rows {
		rates := make([]float64, len(m.samples))
		for j, s := range m.samples {
			rates[j] = s.rate
		}
		rows[i] = Row{
			Scenario: m.title.EN, Title: m.title,
			JobsPerS: median(m.samples, rate), Min: slices.Min(rates), Max: slices.Max(rates),
			Share:     median(m.samples, rate) / top,
			CPUMicros: median(m.samples, func(s sample) float64 { return s.cpu }),
			WALBytes:  median(m.samples, func(s sample) float64 { return s.wal }),
			StartP50:  median(m.samples, func(s sample) float64 { return s.p50 }),
			StartP99:  median(m.samples, func(s sample) float64 { return s.p99 }),
		}
	}
	return rows
}

// median returns the median of one figure over the samples; of an even number, the
// upper of the two in the middle.
func median(ss []sample, of func(sample) float64) float64 {
	vs := make([]float64, len(ss))
	for i, s := range ss {
		vs[i] = of(s)
	}
	slices.Sort(vs)
	return vs[len(vs)/2]
}

// args returns the args of a job: the time at which it was enqueued, and padding to
// argBytes.
func args(at time.Time) json.RawMessage {
	head := fmt.Sprintf(`{"at":%d,"pad":"`, at.UnixMicro())
	return json.RawMessage(head + strings.Repeat("x", max(0, argBytes-len(head)-2)) + `"}`)
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
