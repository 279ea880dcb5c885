package app

import (
	"cmp"
	"context"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
)

// Lines of one read of a job's output.
const (
	defaultLogLines = 1000
	maxLogLines     = 10_000
)

// ReadLog reads a job's output after a position, 0 for the start. It returns the
// position to continue from. Fewer lines than limit (default 1,000) means that there
// are no more for now.
func (a *App) ReadLog(
	ctx context.Context, c auth.Caller, id hostler.JobID, after int64, limit int,
) ([]hostler.LogEntry, int64, error) {
	limit = cmp.Or(limit, defaultLogLines)
	if err := a.checkLogRead(ctx, c, id, limit); err != nil {
		return nil, 0, err
	}
	entries, next, err := a.store.ReadLog(ctx, id, max(after, 0), limit)
	if entries == nil {
		entries = []hostler.LogEntry{}
	}
	return entries, next, err
}

// TailLog reads the last n lines of a job's output, in order.
func (a *App) TailLog(ctx context.Context, c auth.Caller, id hostler.JobID, n int) ([]hostler.LogEntry, error) {
	if err := a.checkLogRead(ctx, c, id, n); err != nil {
		return nil, err
	}
	entries, err := a.store.TailLog(ctx, id, n)
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
