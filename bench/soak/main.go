// Command soak runs Hostler's parts for an hour at 200 jobs a second, each with an
// idempotency key and a lane of its own, and prints the sizes of all tables every minute.
// A day takes twelve minutes: the database's clock is stepped by hours. It fails when a
// table still grows in the end.
//
// Usage:
//
//	go run ./soak [-minutes 60] [-rate 200] [-day 12m] [-every 1m] [-store sqlite|postgres]
//
// With -store postgres it starts a temporary cluster; -db uses another database, which
// must be empty.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"hostler.dev/hostler/internal/soak"
	"hostler.dev/hostler/internal/store/storetest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	minutes := flag.Int("minutes", 60, "how long it runs")
	rate := flag.Int("rate", 200, "jobs a second")
	day := flag.Duration("day", 12*time.Minute, "how long a day of the database's clock takes")
	every := flag.Duration("every", time.Minute, "between two samples")
	kind := flag.String("store", "sqlite", "sqlite or postgres")
	db := flag.String("db", "", "an empty database, postgres://…, instead of a temporary one")
	verbose := flag.Bool("v", false, "log warnings and errors")
	flag.Parse()
	o := soak.Options{
		DB: *db, Rate: *rate, Duration: time.Duration(*minutes) * time.Minute, Day: *day, Every: *every,
		Sampled: func(s soak.Sample) { write(out, s) },
	}
	if *verbose {
		o.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	if *kind == "postgres" && o.DB == "" {
		cluster, err := storetest.StartCluster()
		if err != nil {
			return err
		}
		defer cluster.Stop()
		o.DB = cluster.DSN("postgres")
	}
	res, err := soak.Run(ctx, o)
	if err != nil {
		return err
	}
	if len(res.Growing) > 0 {
		return fmt.Errorf("these tables still grow: %s", strings.Join(res.Growing, ", "))
	}
	_, err = fmt.Fprintln(out, "no table grows")
	return err
}

// write prints a sample on a line: the tables that have rows, by name.
func write(out io.Writer, s soak.Sample) {
	var b strings.Builder
	fmt.Fprintf(&b, "%v jobs=%d ended=%d sent=%d refused=%d MB=%d heapMB=%d",
		s.After.Round(time.Second), s.Made, s.Ended, s.Sent, s.Refused, s.Bytes>>20, s.Heap>>20)
	for _, name := range slices.Sorted(maps.Keys(s.Rows)) {
		if n := s.Rows[name]; n > 0 {
			fmt.Fprintf(&b, " %s=%d", name, n)
		}
	}
	_, _ = fmt.Fprintln(out, b.String()) // a closed terminal does not end the run
}
