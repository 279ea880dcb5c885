package bench

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"hostler.dev/hostler/internal/sqldb"
)

// reading is the state of the meters at one time.
type reading struct {
	at  time.Time
	cpu time.Duration
	wal int64
}

// since returns the rate and the costs per job of the jobs done since a reading.
func (r reading) since(before reading, jobs int) sample {
	n := float64(jobs)
	return sample{
		rate: n / r.at.Sub(before.at).Seconds(),
		cpu:  float64((r.cpu - before.cpu).Microseconds()) / n,
		wal:  float64(r.wal-before.wal) / n,
	}
}

func (b *bench) meter(ctx context.Context) (reading, error) {
	wal, err := b.walBytes(ctx)
	if err != nil {
		return reading{}, err
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return reading{}, fmt.Errorf("read the CPU time: %w", err)
	}
	return reading{at: time.Now(), wal: wal, cpu: time.Duration(u.Utime.Nano() + u.Stime.Nano())}, nil
}

// walBytes returns how much was written for durability so far: the WAL position on
// PostgreSQL, and on SQLite what this process wrote.
func (b *bench) walBytes(ctx context.Context) (n int64, err error) {
	if b.db.Name() == string(sqldb.SQLite) {
		return writtenBytes(), nil
	}
	err = b.db.View(ctx, func(c sqldb.Conn) error {
		n, err = queryInt(ctx, c, `SELECT (pg_current_wal_lsn() - '0/0')::bigint`)
		return err
	})
	return n, err
}

// writtenBytes returns how many bytes this process passed to write calls, or 0 on
// systems other than Linux.
func writtenBytes() int64 {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		var n int64
		if _, err := fmt.Sscanf(line, "wchar: %d", &n); err == nil {
			return n
		}
	}
	return 0
}

func queryInt(ctx context.Context, c sqldb.Conn, sql string) (n int64, err error) {
	rows, err := c.Query(ctx, sql)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			return 0, err
		}
	}
	return n, rows.Err()
}

// delays collects the times from enqueue to start while it is enabled.
type delays struct {
	mu      sync.Mutex
	enabled bool
	all     []time.Duration
}

func (d *delays) enable() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.enabled = true
}

func (d *delays) add(delay time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.enabled {
		d.all = append(d.all, delay)
	}
}

// quantile returns a quantile in milliseconds, 0 without any delay.
func (d *delays) quantile(q float64) float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.all) == 0 {
		return 0
	}
	slices.Sort(d.all)
	at := min(len(d.all)-1, int(q*float64(len(d.all))))
	return float64(d.all[at].Microseconds()) / 1000
}
