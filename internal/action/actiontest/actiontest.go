// Package actiontest runs actions in tests, with a fake environment instead of the worker's.
//
// # Model
//
// An [Attempt] is one call of an action, and everything that came out of it: the result, the
// output, the values to redact and the host keys that were offered.
//
//	a := actiontest.New(asset, map[string]any{"command": "uptime"})
//	a.Run(t.Context(), actiontest.Find(t, family.Actions(), "ssh_command"))
//	a.MustEnd(t, hostler.OutcomeSucceeded, "")
package actiontest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

// waitLimit is how long Wait waits for an action. It is long, as machines are slow.
const waitLimit = 5 * time.Minute

// Attempt is one call of an action. Read the Result only after it has ended.
type Attempt struct {
	action.Result
	// Call may be changed before the start.
	Call *action.Call
	// Stdout, Stderr and System are what the action wrote so far.
	Stdout, Stderr, System Buffer
	// PinError is what PinHostKey returns.
	PinError error

	done      chan struct{}
	mu        sync.Mutex
	redacted  []string
	offers    []hostler.HostKeyOffer
	progress  []hostler.Progress
	artefacts []stored
	// StoreError is what StoreArtefact returns, once it has read everything.
	StoreError error
}

// New returns an attempt that was not started. The args are encoded as JSON; the asset may
// be nil. It panics if the args cannot be encoded.
func New(asset *hostler.LeaseAsset, args any) *Attempt {
	raw, err := json.Marshal(args)
	if err != nil {
		panic(err)
	}
	a := &Attempt{done: make(chan struct{})}
	a.Call = &action.Call{
		Lease:  hostler.Lease{Args: raw, Asset: asset, Credentials: map[string]hostler.LeaseCredential{}},
		Stdout: &a.Stdout, Stderr: &a.Stderr, System: &a.System,
		Redact: a.redact, Progress: a.note, PinHostKey: a.pinHostKey, Artefacts: a,
	}
	return a
}

func (a *Attempt) redact(values ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.redacted = append(a.redacted, values...)
}

func (a *Attempt) note(p hostler.Progress) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.progress = append(a.progress, p)
}

func (a *Attempt) pinHostKey(_ context.Context, k hostler.HostKeyOffer) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.offers = append(a.offers, k)
	return a.PinError
}

// Redacted returns the values that the output must not show.
func (a *Attempt) Redacted() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.redacted)
}

// Offers returns the host keys that were offered.
func (a *Attempt) Offers() []hostler.HostKeyOffer {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.offers)
}

// Progress returns the notes of progress.
func (a *Attempt) Progress() []hostler.Progress {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.progress)
}

// stored is an artefact with its content.
type stored struct {
	hostler.Artefact
	content []byte
}

// Store implements action.Artefacts.
func (a *Attempt) Store(_ context.Context, in hostler.ArtefactInput, r io.Reader) (hostler.Artefact, error) {
	if err := hostler.CheckFileName("name", in.Name); err != nil {
		return hostler.Artefact{}, err
	}
	content, err := io.ReadAll(r)
	if err = cmp.Or(err, a.StoreError); err != nil {
		return hostler.Artefact{}, err
	}
	return a.Give(in.Name, in.MediaType, content), nil
}

// Open implements action.Artefacts.
func (a *Attempt) Open(_ context.Context, id hostler.ArtefactID) (hostler.Artefact, io.ReadCloser, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if id < 1 || int(id) > len(a.artefacts) {
		return hostler.Artefact{}, nil, hostler.NotFound(hostler.Text{EN: "artefact", ZH: "产物"}, id.String())
	}
	s := a.artefacts[id-1]
	return s.Artefact, io.NopCloser(bytes.NewReader(s.content)), nil
}

// Give stores an artefact for the action to open.
func (a *Attempt) Give(name, mediaType string, content []byte) hostler.Artefact {
	a.mu.Lock()
	defer a.mu.Unlock()
	sum := sha256.Sum256(content)
	s := stored{hostler.Artefact{
		ID: hostler.ArtefactID(len(a.artefacts) + 1), Name: name, MediaType: mediaType,
		Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:]),
	}, content}
	a.artefacts = append(a.artefacts, s)
	return s.Artefact
}

// Artefact returns the content of the artefact with a name that the action stored last.
func (a *Attempt) Artefact(tb testing.TB, name string) []byte {
	tb.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range slices.Backward(a.artefacts) {
		if s.Name == name {
			return s.content
		}
	}
	tb.Fatalf("no artefact %s", name)
	return nil
}

// Start runs the action in the background.
func (a *Attempt) Start(ctx context.Context, act action.Action) {
	go func() {
		defer close(a.done)
		a.Result = act.Run(ctx, a.Call)
	}()
}

// Wait waits until the action has returned.
func (a *Attempt) Wait(tb testing.TB) *Attempt {
	tb.Helper()
	select {
	case <-a.done:
	case <-time.After(waitLimit):
		tb.Fatalf("the action did not return within %v", waitLimit)
	}
	return a
}

// Run runs the action and returns when it has.
func (a *Attempt) Run(ctx context.Context, act action.Action) *Attempt {
	a.Start(ctx, act)
	<-a.done
	return a
}

// Kind is the kind of the error, "" when there is none.
func (a *Attempt) Kind() string {
	if a.Error == nil {
		return ""
	}
	return a.Error.Kind
}

// String describes the attempt in test failures.
func (a *Attempt) String() string {
	text := ""
	if a.Error != nil {
		text = fmt.Sprintf("%s: %s / %s", a.Error.Kind, a.Error.Text.EN, a.Error.Text.ZH)
	}
	return fmt.Sprintf("%s %+v error{%s} stdout=%q stderr=%q system=%q",
		a.Outcome, a.Value, text, a.Stdout.String(), a.Stderr.String(), a.System.String())
}

// MustEnd stops the test unless the attempt ended with the outcome and the kind of error,
// in both languages.
func (a *Attempt) MustEnd(tb testing.TB, outcome hostler.Outcome, kind string) {
	tb.Helper()
	if a.Outcome != outcome || a.Kind() != kind {
		tb.Fatalf("got %s, want %s %q", a, outcome, kind)
	}
	if a.Error != nil && (a.Error.Text.EN == "" || a.Error.Text.ZH == "") {
		tb.Errorf("a text is missing: %s", a)
	}
}

// Find returns the action with a name.
func Find(tb testing.TB, actions []action.Action, name string) action.Action {
	tb.Helper()
	for _, a := range actions {
		if a.Name == name {
			return a
		}
	}
	tb.Fatalf("no action %s", name)
	return action.Action{}
}

// Buffer is a text that one goroutine may write while another reads it.
type Buffer struct {
	mu sync.Mutex
	b  strings.Builder
}

// Write implements io.Writer.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String returns what was written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
