package app

import (
	"cmp"
	"context"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
)

// Lines of one read of a job's output.
const (
	defaultLogLines = 1000
	maxLogLines     = 10_000
)

// ReadLog reads a job's output after a position, 0 for the start. It returns the
// position to continue from. Fewer lines than limit (default 1,000), unless [IsFullLog],
// means that there are no more for now.
func (a *App) ReadLog(
	ctx context.Context, c auth.Caller, id hostler.JobID, after int64, limit int,
) ([]hostler.LogEntry, int64, error) {
	limit = cmp.Or(limit, defaultLogLines)
	if err := a.checkLogRead(ctx, c, id, limit); err != nil {
		return nil, 0, err
	}
	entries, next, err := a.logStore(limit).ReadLog(ctx, id, max(after, 0), limit)
	if entries == nil {
		entries = []hostler.LogEntry{}
	}
	return entries, next, err
}

// IsFullLog reports whether there may be lines after those that a read for limit lines
// returned: it has as many, or ended early because of their size.
func IsFullLog(entries []hostler.LogEntry, limit int) bool {
	size := 0
	for _, e := range entries {
		size += len(e.Text)
	}
	limit = cmp.Or(limit, defaultLogLines)
	return len(entries) == limit || size >= store.LogBytes(limit)
}

// fewLines is how many lines a follower reads at once; it must not wait for long reads.
const fewLines = 256

func (a *App) logStore(lines int) *store.Store {
	if lines <= fewLines {
		return a.store
	}
	return a.store.ForLists()
}

// TailLog reads the last n lines of a job's output, in order: the first of them, if they
// are many and long; see [IsFullLog].
func (a *App) TailLog(ctx context.Context, c auth.Caller, id hostler.JobID, n int) ([]hostler.LogEntry, error) {
	if err := a.checkLogRead(ctx, c, id, n); err != nil {
		return nil, err
	}
	entries, err := a.store.ForLists().TailLog(ctx, id, n)
	if entries == nil {
		entries = []hostler.LogEntry{}
	}
	return entries, err
}

// checkLogRead checks that the caller may read the job, and how many lines.
func (a *App) checkLogRead(ctx context.Context, c auth.Caller, id hostler.JobID, limit int) error {
	if _, err := a.Job(ctx, c, id); err != nil {
		return err
	}
	var fields check.Fields
	check.Between(&fields, "limit", limit, 1, maxLogLines)
	return fields.Err()
}
