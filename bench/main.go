// Command bench compares Hostler with other queues: River on the same PostgreSQL, Asynq on
// Redis, Celery and RQ where they are installed, and an earlier build of Hostler.
//
// It starts temporary servers and measures all in turn, round by round: jobs of 200 bytes
// that do nothing, enqueued and worked off at the same time. Compare only queues of one
// durability: what is fsynced before the answer with what is. It is a separate module, so
// that the others are no dependencies of Hostler.
//
// Usage:
//
//	go run . [-jobs 30000] [-rounds 5] [-python VENV/bin/python] [-earlier PROGRAM] [-out results/FILE.json]
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"golang.org/x/sync/errgroup"

	"hostler.dev/hostler/internal/bench"
	"hostler.dev/hostler/internal/store/storetest"
)

// batch is how many jobs one enqueue inserts, for both.
const batch = 1000

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// contender is a queue that is measured.
type contender struct {
	Name       string `json:"name"`
	Durability string `json:"durability"` // of a completion that counts
	// round returns jobs per second.
	round func(ctx context.Context, jobs int) (float64, error)
	// Jobs is how many a round has: fewer for slow queues.
	Jobs   int       `json:"jobs"`
	Rates  []float64 `json:"jobs_per_s"`
	Median float64   `json:"median"`
}

const (
	fsynced    = "fsync before the answer"
	everySec   = "fsync every second"
	redisEvery = "everysec"
)

// result is written to the file of -out.
type result struct {
	Machine string       `json:"machine"`
	Date    string       `json:"date"`
	Queues  []*contender `json:"queues"`
	Hostler bench.Report `json:"hostler"` // on PostgreSQL, of the last round
	Lanes   bench.Report `json:"lanes"`   // the same, alone
}

func run(ctx context.Context) error {
	jobs := flag.Int("jobs", 30_000, "jobs of each round")
	rounds := flag.Int("rounds", 5, "rounds")
	python := flag.String("python", "python3", "Python with the packages celery and rq")
	earlier := flag.String("earlier", "", "an earlier hostler program to compare with")
	out := flag.String("out", "", "file for the result as JSON; the plot is beside it")
	flag.Parse()

	cluster, err := storetest.StartCluster()
	if err != nil {
		return err
	}
	defer cluster.Stop()
	r := result{Date: time.Now().Format(time.DateOnly)}
	r.Queues = contenders(ctx, cluster, &r, *jobs, *python, *earlier)
	for i := range *rounds {
		for _, c := range r.Queues {
			rate, err := c.round(ctx, c.Jobs)
			if err != nil {
				return fmt.Errorf("%s: %w", c.Name, err)
			}
			c.Rates = append(c.Rates, rate)
			c.Median = median(c.Rates)
			fmt.Printf("round %d: %-28s %7.0f jobs/s (%s)\n", i+1, c.Name, rate, c.Durability)
		}
	}
	r.Machine = r.Hostler.Machine + ", " + r.Hostler.Store
	for _, c := range r.Queues {
		fmt.Printf("median: %-28s %7.0f jobs/s (%.0f–%.0f), %s\n", c.Name, c.Median,
			slices.Min(c.Rates), slices.Max(c.Rates), c.Durability)
	}
	if r.Lanes, err = laneRun(ctx, cluster, *jobs); err != nil {
		return err
	}
	for _, row := range r.Lanes.Rows {
		fmt.Printf("%-20s %6.0f jobs/s (%.0f–%.0f), %.0f µs CPU, %.0f bytes of WAL per job, ",
			row.Scenario, row.JobsPerS, row.Min, row.Max, row.CPUMicros, row.WALBytes)
		fmt.Printf("start p50 %.1f ms, p99 %.1f ms\n", row.StartP50, row.StartP99)
	}
	return write(*out, &r)
}

// contenders lists what the machine has, each with its best documented settings.
func contenders(ctx context.Context, c *storetest.Cluster, r *result, jobs int, python, earlier string) []*contender {
	list := []*contender{
		{Name: "Hostler, SQLite", Durability: fsynced, Jobs: jobs, round: sqliteRound},
		{Name: "Hostler, PostgreSQL", Durability: fsynced, Jobs: jobs, round: r.postgresRound(c)},
		{Name: "River, PostgreSQL", Durability: fsynced, Jobs: jobs, round: riverRound(c)},
	}
	if earlier != "" {
		list = append(list,
			&contender{Name: "earlier Hostler, SQLite", Durability: fsynced, Jobs: jobs, round: earlierRound(nil, earlier)},
			&contender{Name: "earlier Hostler, PostgreSQL", Durability: fsynced, Jobs: jobs, round: earlierRound(c, earlier)})
	}
	if _, err := exec.LookPath("redis-server"); err != nil {
		slog.Warn("Asynq, Celery and RQ are left out: no redis-server", "err", err)
		return list
	}
	list = append(list,
		&contender{Name: "Asynq, Redis always", Durability: fsynced, Jobs: jobs / 3, round: asynqRound("always")},
		&contender{Name: "Asynq, Redis everysec", Durability: everySec, Jobs: jobs, round: asynqRound(redisEvery)})
	if hasPython(ctx, python) {
		list = append(list,
			&contender{Name: "Celery, Redis everysec", Durability: everySec, Jobs: jobs / 10, round: pythonRound(python, "celery", redisEvery)},
			&contender{Name: "RQ, Redis everysec", Durability: everySec, Jobs: jobs / 30, round: pythonRound(python, "rq", redisEvery)})
	}
	return list
}

// write writes the result and its plot.
func write(file string, r *result) error {
	if file == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(strings.TrimSuffix(file, ".json")+".svg", plot(r), 0o644)
}

func median(vs []float64) float64 {
	vs = slices.Sorted(slices.Values(vs))
	return vs[len(vs)/2]
}

// databases counts those that were created.
var databases atomic.Int64

// database creates an empty database for one round and returns its DSN.
func database(ctx context.Context, c *storetest.Cluster) (string, error) {
	conn, err := pgx.Connect(ctx, c.DSN("postgres"))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }()
	name := fmt.Sprintf("round%d", databases.Add(1))
	_, err = conn.Exec(ctx, "CREATE DATABASE "+name)
	return c.DSN(name), err
}

// options are those of Hostler, the same as River's.
func options(dsn string, jobs int) bench.Options {
	return bench.Options{
		DB: dsn, Jobs: jobs, Slots: 2000, Lanes: []int{0}, Rounds: 1, Batch: batch, Steady: time.Second,
	}
}

func sqliteRound(ctx context.Context, jobs int) (float64, error) {
	report, err := bench.Run(ctx, options("", jobs))
	if err != nil {
		return 0, err
	}
	return report.Rows[0].JobsPerS, nil
}

func (r *result) postgresRound(c *storetest.Cluster) func(ctx context.Context, jobs int) (float64, error) {
	return func(ctx context.Context, jobs int) (float64, error) {
		dsn, err := database(ctx, c)
		if err != nil {
			return 0, err
		}
		if r.Hostler, err = bench.Run(ctx, options(dsn, jobs)); err != nil {
			return 0, err
		}
		return r.Hostler.Rows[0].JobsPerS, nil
	}
}

// earlierRound measures another build of Hostler, on SQLite without a cluster.
func earlierRound(c *storetest.Cluster, program string) func(ctx context.Context, jobs int) (float64, error) {
	return func(ctx context.Context, jobs int) (float64, error) {
		args := []string{
			"bench", "--jobs", strconv.Itoa(jobs), "--slots", "2000", "--batch", strconv.Itoa(batch),
			"--lanes", "0", "--rounds", "1", "--steady", "1s", "-o", "json",
		}
		if c != nil {
			dsn, err := database(ctx, c)
			if err != nil {
				return 0, err
			}
			args = append(args, "--db", dsn)
		}
		out, err := exec.CommandContext(ctx, program, args...).Output()
		if err != nil {
			return 0, err
		}
		var report bench.Report
		if err := json.Unmarshal(out, &report); err != nil {
			return 0, err
		}
		return report.Rows[0].JobsPerS, nil
	}
}

// laneRun measures Hostler without lanes, with few and with many.
func laneRun(ctx context.Context, c *storetest.Cluster, jobs int) (bench.Report, error) {
	dsn, err := database(ctx, c)
	if err != nil {
		return bench.Report{}, err
	}
	return bench.Run(ctx, bench.Options{
		DB: dsn, Jobs: jobs, Slots: 2000, Lanes: []int{0, 500, 50_000}, Rounds: 3, Batch: batch,
	})
}

// noopArgs has 200 bytes as JSON.
type noopArgs struct {
	Pad string `json:"pad"`
}

// Kind implements river.JobArgs.
func (noopArgs) Kind() string { return "noop" }

type noopWorker struct{ river.WorkerDefaults[noopArgs] }

// Work implements river.Worker.
func (noopWorker) Work(context.Context, *river.Job[noopArgs]) error { return nil }

// riverRound measures River with the settings of its own benchmark: 2,000 workers, a
// short fetch cool-down, InsertManyFast. It returns jobs per second.
func riverRound(c *storetest.Cluster) func(ctx context.Context, jobs int) (float64, error) {
	return func(ctx context.Context, jobs int) (float64, error) {
		dsn, err := database(ctx, c)
		if err != nil {
			return 0, err
		}
		return measureRiver(ctx, dsn, jobs)
	}
}

func measureRiver(ctx context.Context, dsn string, jobs int) (float64, error) {
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return 0, err
	}
	defer pool.Close()
	client, err := riverClient(ctx, pool)
	if err != nil {
		return 0, err
	}
	done, cancel := client.SubscribeConfig(&river.SubscribeConfig{
		ChanSize: jobs, Kinds: []river.EventKind{river.EventKindJobCompleted},
	})
	defer cancel()
	if err := client.Start(ctx); err != nil {
		return 0, err
	}
	start := time.Now()
	if err := insertRiver(ctx, client, jobs); err != nil {
		return 0, err
	}
	for range jobs {
		select {
		case <-done:
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(time.Minute):
			return 0, fmt.Errorf("river: no job ended for a minute")
		}
	}
	rate := float64(jobs) / time.Since(start).Seconds()
	return rate, client.Stop(ctx)
}

// riverClient migrates the database and returns a client that works with 2,000
// workers.
func riverClient(ctx context.Context, pool *pgxpool.Pool) (*river.Client[pgx.Tx], error) {
	driver := riverpgxv5.New(pool)
	migrator, err := rivermigrate.New(driver, nil)
	if err != nil {
		return nil, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, noopWorker{})
	return river.NewClient(driver, &river.Config{
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 2000}}, Workers: workers,
		FetchCooldown: 2 * time.Millisecond, FetchPollInterval: 20 * time.Millisecond,
		Logger: slog.New(slog.DiscardHandler),
	})
}

// insertRiver inserts jobs from four goroutines, as Hostler's benchmark does.
func insertRiver(ctx context.Context, client *river.Client[pgx.Tx], jobs int) error {
	const producers = 4
	pad := strings.Repeat("x", 190)
	var next atomic.Int64
	var g errgroup.Group
	for range producers {
		g.Go(func() error {
			for {
				from := int(next.Add(batch)) - batch
				if from >= jobs {
					return nil
				}
				params := make([]river.InsertManyParams, min(batch, jobs-from))
				for i := range params {
					params[i].Args = noopArgs{Pad: pad}
				}
				if _, err := client.InsertManyFast(ctx, params); err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
}
