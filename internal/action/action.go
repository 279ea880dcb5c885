// Package action is the contract between the worker and the kinds of work, and
// the registry of them.
//
// Model: an Action is a value: its name, its texts, the JSON Schema of its args,
// what it means for lanes and lost workers, and Run. The families stand in
// folders of their own (ssh, net, http, local); the server puts them into one
// Registry. An action never sees the store: what it needs comes in a Call, what
// it says goes out through it.
//
// Invariants: args are validated against the schema before a job is made, and
// again before it runs. Args reach a shell only as argv, environment or standard
// input. Run returns only when the work is over, or is known to be lost; it
// honours its context at every wait.
package action

import (
	"context"
	"encoding/json"
	"io"

	"hostler.dev/hostler"
)

// Action is a kind of work.
type Action struct {
	Name    string
	Aliases []string
	Title   hostler.Text
	Help    hostler.Text
	// Schema is the JSON Schema (2020-12) of the args; it refuses unknown keys.
	Schema json.RawMessage
	// Asset says whether a job must, may or must not name an asset.
	Asset AssetNeed
	// Traits says how a job with these valid args behaves.
	Traits func(args json.RawMessage) Traits
	// Check refuses args that the schema cannot, with paths below "args"; nil
	// when the schema says it all.
	Check func(args json.RawMessage) []hostler.FieldError
	// Credentials names the credentials that the args refer to (such as a sudo
	// password); nil when there are none.
	Credentials func(args json.RawMessage) []string
	// Enabled is false for an action that the configuration must switch on.
	Enabled bool
	// Run does the work.
	Run func(ctx context.Context, c *Call) Result
}

// AssetNeed says whether an action works on an asset.
type AssetNeed int

// The needs.
const (
	AssetRequired AssetNeed = iota
	AssetOptional
	AssetNever
)

// Traits are what the engine must know of a job before it runs.
type Traits struct {
	// Idempotent: running it twice is as good as once. It sets the default of
	// on_lost.
	Idempotent bool
	// Changes: it may change the host, so it runs in the asset's lane unless the
	// job says otherwise.
	Changes bool
}

// Call is one attempt of a job, as its action sees it.
type Call struct {
	hostler.Lease
	// Stdout and Stderr take the output; writes are redacted, limited, stored
	// and streamed. They never fail and never block for long.
	Stdout, Stderr io.Writer
	// System takes what Hostler itself has to say in the job's log.
	System io.Writer
	// Redact adds values that must not appear in the output.
	Redact func(values ...string)
	// Progress notes how far the work has come.
	Progress func(p hostler.Progress)
	// PinHostKey asks whether a host key may be trusted; see
	// hostler.Dispatcher.PinHostKey.
	PinHostKey func(ctx context.Context, k hostler.HostKeyOffer) error
}

// Result is how an attempt ended.
type Result struct {
	Outcome hostler.Outcome
	// Value becomes the job's result, as JSON; nil for none.
	Value any
	// Error says why it did not succeed.
	Error *hostler.JobError
	// NoRetry says that another attempt would fail the same way.
	NoRetry bool
}

// Succeeded makes the result of work that was done.
func Succeeded(value any) Result {
	return Result{Outcome: hostler.OutcomeSucceeded, Value: value}
}

// Failed makes the result of work that was not done, or done wrong.
func Failed(value any, kind, en, zh string, args ...any) Result {
	return Result{Outcome: hostler.OutcomeFailed, Value: value, Error: jobError(kind, en, zh, args...)}
}

// Unknown makes the result of work that was lost sight of while it may have had
// its effect.
func Unknown(value any, kind, en, zh string, args ...any) Result {
	return Result{Outcome: hostler.OutcomeUnknown, Value: value, Error: jobError(kind, en, zh, args...)}
}

// Cancelled makes the result of work that was stopped and seen to be stopped.
func Cancelled(value any) Result {
	return Result{
		Outcome: hostler.OutcomeCancelled, Value: value,
		Error: jobError(hostler.ErrKindCancelled, "cancelled while it ran", "运行中被取消"),
	}
}

func jobError(kind, en, zh string, args ...any) *hostler.JobError {
	return &hostler.JobError{Kind: kind, Text: hostler.Textf(en, zh, args...)}
}

// ErrCancelled is the context cause when a person cancelled the job;
// ErrTimeout when its time is over; ErrFenced when the lease was lost, so that
// the work must stop and nothing be reported.
var (
	ErrCancelled = cause("cancelled")
	ErrTimeout   = cause("timeout")
	ErrFenced    = cause("lease lost")
)

type cause string

func (c cause) Error() string { return string(c) }
