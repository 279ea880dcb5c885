// Package action is the contract between the worker and the actions, and their registry.
//
// # Model
//
// An [Action] is a value: its name and texts, the JSON Schema of its args, its traits, and
// Run. The families are packages below this one (ssh, netcli, net, http, local); the node puts
// their actions into one [Registry].
//
// A job's args pass through these steps:
//
//	Registry.Validate   size, UTF-8, JSON without a field twice ─▶ Schema ─▶ Check
//	Decode              into the action's own struct
//	Run                 with a Call: the lease, the output streams, host keys
//
// Run returns a [Result]. Code below it returns a [Fault], an error with everything that a
// result needs, and Run converts it with [ResultOf].
//
// An action never sees the store: its input is the Call, its output goes through the Call.
//
// # Outcomes
//
//	succeeded   the work was done
//	failed      it was not done, or went wrong; another attempt is allowed unless NoRetry
//	cancelled   it was stopped on request, and verified to be stopped
//	unknown     it may have taken effect, and that cannot be verified
//
// # Invariants
//
//   - Validated: args are validated before a job is created, and again before it runs.
//   - NoShellInjection: args reach a shell only as argv, environment or standard input.
//   - ReturnsWhenOver: Run returns only when the work has ended or its outcome is unknown; it
//     ends early when its context does.
//   - NoValueInErrors: no error repeats a value of args, because it may be a secret.
package action

import (
	"context"
	"encoding/json"
	"io"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/risk"
)

// Action is a kind of work that jobs execute.
type Action struct {
	Name    string
	Aliases []string
	Title   hostler.Text
	Help    hostler.Text
	// Schema is the JSON Schema (2020-12) of the args; it refuses unknown keys.
	Schema json.RawMessage
	// Asset is whether a job must, may or must not have an asset.
	Asset AssetNeed
	// Traits returns how a job with these valid args behaves.
	Traits func(args json.RawMessage) Traits
	// Check refuses args that the schema cannot, with paths below "args"; nil when the
	// schema is sufficient.
	Check func(args json.RawMessage) []hostler.FieldError
	// LogsIn: it logs in to its asset, with the asset's credential. Other actions do not
	// get it.
	LogsIn bool
	// Credentials returns the credentials that the args refer to, such as a sudo password,
	// and what for; nil when there are none.
	Credentials func(args json.RawMessage) []CredentialUse
	// SecretUse is the use of a credential that a {"$secret": "name"} in the args is; nil for
	// hostler.UseScript on the job's host.
	SecretUse func(args json.RawMessage) CredentialUse
	// NoSecrets is why the args may not refer to secrets; the zero one for the usual reason,
	// that the schema has no place for them there.
	NoSecrets hostler.Text
	// Elsewhere reports whether a job with these valid args works on something other than its
	// asset: on a host that they name, or on the worker. Callers who are limited to certain
	// assets may not run it. nil: it works on its asset alone.
	Elsewhere func(args json.RawMessage) bool
	// Commands returns the commands that a job with these valid args runs, for the rules of
	// dangerous commands; a secret in them is [risk.Unknown]. nil: it runs none. Every action
	// that may change a host needs it; package node has a test.
	Commands func(args json.RawMessage) []risk.Command
	// Enabled is false for an action that the configuration must enable.
	Enabled bool
	// Run does the work. It returns when the work has ended, or soon after its context.
	Run func(ctx context.Context, c *Call) Result

	secrets [][]string // places of args that may refer to secrets
	code    []string   // args that a shell reads
}

// CredentialUse is a use of a credential that args ask for.
type CredentialUse struct {
	Name string // of the credential
	Use  string // hostler.UseSudo, …
	// Origin is that of the request, for hostler.UseHTTP; "" when its URL is a path on the
	// asset.
	Origin string
}

// AssetNeed is whether an action works on an asset.
type AssetNeed int

// The needs.
const (
	AssetRequired AssetNeed = iota
	AssetOptional
	AssetNever
)

// Traits are what the engine needs to know about a job before it runs.
type Traits struct {
	// Idempotent: running it twice has the same effect as once. It determines the default
	// of on_lost.
	Idempotent bool
	// Changes: it may change the host, so it runs in the asset's lane unless the job has
	// another.
	Changes bool
}

// Call is one attempt of a job, as its action sees it.
type Call struct {
	hostler.Lease
	// Stdout and Stderr take the output: it is redacted, limited, stored and streamed.
	// Writes never fail and never block for long.
	Stdout, Stderr io.Writer
	// System takes messages of Hostler itself for the job's log.
	System io.Writer
	// Redact adds values that must not appear in the output.
	Redact func(values ...string)
	// Progress reports how far the work has come.
	Progress func(p hostler.Progress)
	// PinHostKey records a host key that is not pinned yet and returns nil if it may be
	// trusted; see hostler.Dispatcher.PinHostKey.
	PinHostKey func(ctx context.Context, k hostler.HostKeyOffer) error
	// Artefacts stores and opens artefacts of the job; see [Call.StoreArtefact].
	Artefacts Artefacts
}

// Artefacts is a hostler.ArtefactDispatcher for one lease.
type Artefacts interface {
	Store(ctx context.Context, in hostler.ArtefactInput, r io.Reader) (hostler.Artefact, error)
	Open(ctx context.Context, id hostler.ArtefactID) (hostler.Artefact, io.ReadCloser, error)
}

// Result is how an attempt ended.
type Result struct {
	Outcome hostler.Outcome
	// Value becomes the job's result, as JSON; nil for none.
	Value any
	// Error is why it did not succeed.
	Error *hostler.JobError
	// NoRetry: another attempt would fail the same way.
	NoRetry bool
}

// Succeeded returns the result of work that was done.
func Succeeded(value any) Result {
	return Result{Outcome: hostler.OutcomeSucceeded, Value: value}
}

// Failed returns the result of work that was not done, or went wrong.
func Failed(value any, kind, en, zh string, args ...any) Result {
	return Result{Outcome: hostler.OutcomeFailed, Value: value, Error: jobError(kind, en, zh, args...)}
}

// Unknown returns the result of work that may have taken effect, which cannot be verified.
func Unknown(value any, kind, en, zh string, args ...any) Result {
	return Result{Outcome: hostler.OutcomeUnknown, Value: value, Error: jobError(kind, en, zh, args...)}
}

// Cancelled returns the result of work that was stopped on request, and verified to be
// stopped.
func Cancelled(value any) Result {
	return Result{
		Outcome: hostler.OutcomeCancelled, Value: value,
		Error: jobError(hostler.ErrKindCancelled, "cancelled while it was running", "运行中被取消"),
	}
}

func jobError(kind, en, zh string, args ...any) *hostler.JobError {
	return &hostler.JobError{Kind: kind, Text: hostler.Textf(en, zh, args...)}
}

// The causes with which a call's context ends. ErrCancelled: a person cancelled the job.
// ErrTimeout: it ran for longer than its timeout; the cause itself may be a [TimeoutError].
// ErrFenced: the lease is lost, so the work must stop and will not be reported.
var (
	ErrCancelled = cause("cancelled")
	ErrTimeout   = cause("timeout")
	ErrFenced    = cause("lease lost")
)

type cause string

func (c cause) Error() string { return string(c) }
