package app

import (
	"context"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
)

var errPending = hostler.Errorf(hostler.CodeInternal, "not yet", "尚未实现")

// Assets is about to land; the signature is fixed.
func (a *App) Assets(ctx context.Context, c auth.Caller, labels map[string]string, p hostler.Page) (r0 hostler.List[hostler.Asset], err error) {
	err = errPending
	return
}

// Asset is about to land; the signature is fixed.
func (a *App) Asset(ctx context.Context, c auth.Caller, ref string) (r0 hostler.Asset, err error) {
	err = errPending
	return
}

// CreateAsset is about to land; the signature is fixed.
func (a *App) CreateAsset(ctx context.Context, c auth.Caller, in AssetInput) (r0 hostler.Asset, err error) {
	err = errPending
	return
}

// PutAsset is about to land; the signature is fixed.
func (a *App) PutAsset(ctx context.Context, c auth.Caller, ref string, in AssetInput) (r0 hostler.Asset, err error) {
	err = errPending
	return
}

// DeleteAsset is about to land; the signature is fixed.
func (a *App) DeleteAsset(ctx context.Context, c auth.Caller, ref string) (r0 hostler.Asset, err error) {
	err = errPending
	return
}

// HostKeys is about to land; the signature is fixed.
func (a *App) HostKeys(ctx context.Context, c auth.Caller, asset string) (r0 []hostler.HostKey, err error) {
	err = errPending
	return
}

// AcceptHostKey is about to land; the signature is fixed.
func (a *App) AcceptHostKey(ctx context.Context, c auth.Caller, asset string, id hostler.HostKeyID) (r0 hostler.HostKey, err error) {
	err = errPending
	return
}

// RevokeHostKey is about to land; the signature is fixed.
func (a *App) RevokeHostKey(ctx context.Context, c auth.Caller, asset string, id hostler.HostKeyID) (r0 hostler.HostKey, err error) {
	err = errPending
	return
}

// Credentials is about to land; the signature is fixed.
func (a *App) Credentials(ctx context.Context, c auth.Caller, p hostler.Page) (r0 hostler.List[hostler.Credential], err error) {
	err = errPending
	return
}

// Credential is about to land; the signature is fixed.
func (a *App) Credential(ctx context.Context, c auth.Caller, name string) (r0 hostler.Credential, err error) {
	err = errPending
	return
}

// CreateCredential is about to land; the signature is fixed.
func (a *App) CreateCredential(ctx context.Context, c auth.Caller, in CredentialInput) (r0 hostler.Credential, err error) {
	err = errPending
	return
}

// PutCredential is about to land; the signature is fixed.
func (a *App) PutCredential(ctx context.Context, c auth.Caller, name string, in CredentialInput) (r0 hostler.Credential, err error) {
	err = errPending
	return
}

// DeleteCredential is about to land; the signature is fixed.
func (a *App) DeleteCredential(ctx context.Context, c auth.Caller, name string) error {
	return errPending
}

// Actions is about to land; the signature is fixed.
func (a *App) Actions(ctx context.Context, c auth.Caller) (r0 []hostler.ActionInfo, err error) {
	err = errPending
	return
}

// Action is about to land; the signature is fixed.
func (a *App) Action(ctx context.Context, c auth.Caller, name string) (r0 hostler.ActionInfo, err error) {
	err = errPending
	return
}

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

// PinHostKey is about to land; the signature is fixed.
func (a *App) PinHostKey(ctx context.Context, project hostler.ProjectID, asset hostler.AssetID, k hostler.HostKeyOffer) error {
	return errPending
}
