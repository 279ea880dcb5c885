// Command growth measures how the costs of Hostler grow with its history and its queue:
// claim, finish, enqueue, reads of a job, lists by each filter, start, pause and resume,
// on both stores, with up to 10 M ended jobs of 400 days and 300,000 queued ones.
//
//	go run ./growth -out results/growth-2cpu.json
//
// The history is inserted by SQL. All data is in a temporary folder, which is deleted.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"hostler.dev/hostler/internal/sqldb"
)

// options are what the command measures.
type options struct {
	stores                []string
	ended, queued, queues []int
	days, reps            int
	out                   string
}

// cell is one operation in one state of a database.
type cell struct {
	Store  string  `json:"store"`
	Queues int     `json:"queues"`
	Queued int     `json:"queued"`
	Ended  int     `json:"ended"`
	What   string  `json:"what"`
	P50    float64 `json:"p50_ms"`
	P99    float64 `json:"p99_ms"`
	// CPU is the median of the CPU time of this process.
	CPU float64 `json:"cpu_ms"`
	// Growth is the median beside that with the least history, queue and queues: of the CPU
	// time on SQLite, which does not depend on what else the machine does.
	Growth float64 `json:"growth"`
}

func main() {
	o, err := parse()
	if err == nil {
		err = run(context.Background(), o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func parse() (o options, err error) {
	stores := flag.String("stores", "sqlite,postgres", "stores")
	ended := flag.String("ended", "0,1000000,10000000", "ended jobs, ascending")
	queued := flag.String("queued", "0,300000", "queued jobs")
	queues := flag.String("queues", "1,300", "queues")
	flag.IntVar(&o.days, "days", 400, "days of history")
	flag.IntVar(&o.reps, "reps", 200, "repetitions of each operation")
	flag.StringVar(&o.out, "out", "", "file for the result as JSON")
	flag.Parse()
	o.stores = strings.Split(*stores, ",")
	for _, list := range []struct {
		text string
		to   *[]int
	}{{*ended, &o.ended}, {*queued, &o.queued}, {*queues, &o.queues}} {
		for _, s := range strings.Split(list.text, ",") {
			n, err := strconv.Atoi(s)
			if err != nil {
				return o, err
			}
			*list.to = append(*list.to, n)
		}
	}
	return o, nil
}

func run(ctx context.Context, o options) error {
	var all []cell
	for _, kind := range o.stores {
		cells, err := measureStore(ctx, o, kind)
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		all = append(all, cells...)
	}
	if o.out == "" {
		return nil
	}
	text, err := json.MarshalIndent(struct {
		Machine string `json:"machine"`
		Days    int    `json:"days"`
		Reps    int    `json:"reps"`
		Cells   []cell `json:"cells"`
	}{
		fmt.Sprintf("%s/%s, %d CPUs, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version()),
		o.days, o.reps, all,
	}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.out, append(text, '\n'), 0o644)
}

// measureStore measures one store: a database for each number of queues and of queued
// jobs, whose history grows.
func measureStore(ctx context.Context, o options, kind string) ([]cell, error) {
	source, err := newSource(kind, o)
	if err != nil {
		return nil, err
	}
	defer source.close()
	var cells []cell
	first := map[string]float64{}
	for _, queues := range o.queues {
		for _, queued := range o.queued {
			b, err := source.database(ctx, queues)
			if err != nil {
				return nil, err
			}
			if err := errors.Join(b.seedPages(ctx, o.days), b.enqueueMany(ctx, queued)); err != nil {
				return nil, err
			}
			for _, ended := range o.ended {
				if err := b.seed(ctx, ended, o.days); err != nil {
					return nil, err
				}
				fmt.Printf("\n%s, %d queues, %d queued, %d ended\n", kind, queues, queued, ended)
				err := b.measure(ctx, o.reps, func(what string, times []took) {
					slices.SortFunc(times, func(a, b took) int { return cmp.Compare(a.cpu, b.cpu) })
					c := cell{
						Store: kind, Queues: queues, Queued: queued, Ended: ended, What: what,
						CPU: ms(times[len(times)/2].cpu),
					}
					slices.SortFunc(times, func(a, b took) int { return cmp.Compare(a.wall, b.wall) })
					c.P50, c.P99 = ms(times[len(times)/2].wall), ms(times[len(times)*99/100].wall)
					median := c.CPU
					if kind == string(sqldb.Postgres) {
						median = c.P50
					}
					first[what] = cmp.Or(first[what], median)
					c.Growth = median / first[what]
					fmt.Printf("  %-32s p50 %8.2f ms  p99 %8.2f ms  CPU %8.2f ms  ×%.1f\n", what, c.P50, c.P99, c.CPU, c.Growth)
					cells = append(cells, c)
				})
				if err != nil {
					return nil, err
				}
			}
			if err := b.close(); err != nil {
				return nil, err
			}
		}
	}
	return cells, nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
