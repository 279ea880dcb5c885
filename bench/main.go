// Command bench compares Hostler with River on one PostgreSQL.
//
// It starts a temporary cluster with fsync on and measures the two in turn, round by
// round: jobs of 200 bytes that do nothing, enqueued and worked off at the same time,
// with their history stored. It is a separate module, so that River is not a
// dependency of Hostler.
//
// Usage:
//
//	go run . [-jobs 30000] [-rounds 5] [-out results/FILE.json]
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
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

// result is written to the file of -out.
type result struct {
	Hostler bench.Report `json:"hostler"` // of the last round
	Rates   struct {
		Hostler []float64 `json:"hostler"`
		River   []float64 `json:"river"`
	} `json:"jobs_per_s"`
	Ratio float64      `json:"hostler_over_river"` // of the medians
	Lanes bench.Report `json:"lanes"`              // Hostler alone
}

func run(ctx context.Context) error {
	jobs := flag.Int("jobs", 30_000, "jobs of each round")
	rounds := flag.Int("rounds", 5, "rounds")
	out := flag.String("out", "", "file for the result as JSON")
	flag.Parse()

	cluster, err := storetest.StartCluster()
	if err != nil {
		return err
	}
	defer cluster.Stop()
	var r result
	for i := range *rounds {
		ours, err := hostlerRound(ctx, cluster, i, *jobs)
		if err != nil {
			return err
		}
		r.Hostler = ours
		r.Rates.Hostler = append(r.Rates.Hostler, ours.Rows[0].JobsPerS)
		rate, err := riverRound(ctx, cluster, i, *jobs)
		if err != nil {
			return err
		}
		r.Rates.River = append(r.Rates.River, rate)
		fmt.Printf("round %d: hostler %.0f jobs/s (%.0f%% of bare SQL), river %.0f jobs/s\n",
			i+1, ours.Rows[0].JobsPerS, ours.Rows[0].Share*100, rate)
	}
	r.Ratio = median(r.Rates.Hostler) / median(r.Rates.River)
	fmt.Printf("medians on %s (%s), %s: hostler %.0f, river %.0f, ratio %.2f\n",
		r.Hostler.Store, r.Hostler.Durability, r.Hostler.Machine, median(r.Rates.Hostler), median(r.Rates.River), r.Ratio)
	if r.Lanes, err = laneRun(ctx, cluster, *jobs); err != nil {
		return err
	}
	for _, row := range r.Lanes.Rows {
		fmt.Printf("%-20s %6.0f jobs/s (%.0f–%.0f), %.0f µs CPU, %.0f bytes of WAL per job, ",
			row.Scenario, row.JobsPerS, row.Min, row.Max, row.CPUMicros, row.WALBytes)
		fmt.Printf("start p50 %.1f ms, p99 %.1f ms\n", row.StartP50, row.StartP99)
	}
	if *out == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(*out, append(text, '\n'), 0o644)
}

func median(vs []float64) float64 {
	vs = slices.Sorted(slices.Values(vs))
	return vs[len(vs)/2]
}

// database creates an empty database for one round and returns its DSN.
func database(ctx context.Context, c *storetest.Cluster, name string) (string, error) {
	conn, err := pgx.Connect(ctx, c.DSN("postgres"))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
	return c.DSN(name), err
}

func hostlerRound(ctx context.Context, c *storetest.Cluster, round, jobs int) (bench.Report, error) {
	dsn, err := database(ctx, c, fmt.Sprint("hostler", round))
	if err != nil {
		return bench.Report{}, err
	}
	return bench.Run(ctx, bench.Options{DB: dsn, Jobs: jobs, Slots: 2000, Lanes: []int{0}, Rounds: 1, Batch: batch})
}

// laneRun measures Hostler without lanes, with few and with many.
func laneRun(ctx context.Context, c *storetest.Cluster, jobs int) (bench.Report, error) {
	dsn, err := database(ctx, c, "lanes")
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
func riverRound(ctx context.Context, c *storetest.Cluster, round, jobs int) (float64, error) {
	dsn, err := database(ctx, c, fmt.Sprint("river", round))
	if err != nil {
		return 0, err
	}
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
