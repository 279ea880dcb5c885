package app

import (
	"context"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
)

var errPending = hostler.Errorf(hostler.CodeInternal, "not yet", "尚未实现")

// RunJobs is about to land; the signature is fixed.
func (a *App) RunJobs(ctx context.Context, c auth.Caller, req hostler.JobRequest, idem string) (r0 hostler.JobsCreated, err error) {
	err = errPending
	return
}

// Job is about to land; the signature is fixed.
func (a *App) Job(ctx context.Context, c auth.Caller, id hostler.JobID) (r0 hostler.Job, err error) {
	err = errPending
	return
}

// Jobs is about to land; the signature is fixed.
func (a *App) Jobs(ctx context.Context, c auth.Caller, f hostler.JobFilter, p hostler.Page) (r0 hostler.List[hostler.Job], err error) {
	err = errPending
	return
}

// Attempts is about to land; the signature is fixed.
func (a *App) Attempts(ctx context.Context, c auth.Caller, id hostler.JobID) (r0 []hostler.Attempt, err error) {
	err = errPending
	return
}

// Waiting is about to land; the signature is fixed.
func (a *App) Waiting(ctx context.Context, c auth.Caller, id hostler.JobID) (r0 []hostler.Waiting, err error) {
	err = errPending
	return
}

// ReadLog is about to land; the signature is fixed.
func (a *App) ReadLog(ctx context.Context, c auth.Caller, id hostler.JobID, after int64, limit int) (r0 []hostler.LogEntry, r1 int64, err error) {
	err = errPending
	return
}

// TailLog is about to land; the signature is fixed.
func (a *App) TailLog(ctx context.Context, c auth.Caller, id hostler.JobID, n int) (r0 []hostler.LogEntry, err error) {
	err = errPending
	return
}

// CancelJob is about to land; the signature is fixed.
func (a *App) CancelJob(ctx context.Context, c auth.Caller, id hostler.JobID) (r0 hostler.Job, err error) {
	err = errPending
	return
}

// RetryJob is about to land; the signature is fixed.
func (a *App) RetryJob(ctx context.Context, c auth.Caller, id hostler.JobID, idem string) (r0 hostler.Job, err error) {
	err = errPending
	return
}

// ResolveJob is about to land; the signature is fixed.
func (a *App) ResolveJob(ctx context.Context, c auth.Caller, id hostler.JobID, in ResolveInput) (r0 hostler.Job, err error) {
	err = errPending
	return
}

// CancelJobs is about to land; the signature is fixed.
func (a *App) CancelJobs(ctx context.Context, c auth.Caller, b hostler.BulkRequest) (r0 hostler.BulkResult, err error) {
	err = errPending
	return
}

// RetryJobs is about to land; the signature is fixed.
func (a *App) RetryJobs(ctx context.Context, c auth.Caller, b hostler.BulkRequest, idem string) (r0 hostler.BulkResult, err error) {
	err = errPending
	return
}

// ResolveJobs is about to land; the signature is fixed.
func (a *App) ResolveJobs(ctx context.Context, c auth.Caller, b hostler.BulkRequest) (r0 hostler.BulkResult, err error) {
	err = errPending
	return
}

// Run is about to land; the signature is fixed.
func (a *App) Run(ctx context.Context, c auth.Caller, id hostler.RunID) (r0 hostler.RunSummary, err error) {
	err = errPending
	return
}

// Bootstrap is about to land; the signature is fixed.
func (a *App) Bootstrap(ctx context.Context, presetKey string) (secret string, created bool, err error) {
	err = errPending
	return
}

// LocalAdminKey is about to land; the signature is fixed.
func (a *App) LocalAdminKey(ctx context.Context, name string) (secret string, err error) {
	err = errPending
	return
}

// SeedSample is about to land; the signature is fixed.
func (a *App) SeedSample(ctx context.Context, port int) error {
	return errPending
}

// ResolveLeases is about to land; the signature is fixed.
func (a *App) ResolveLeases(ctx context.Context, leases []*hostler.Lease) error {
	return errPending
}

