// Package ssh runs commands, scripts and service operations on hosts over SSH.
//
// Model: a Family keeps connections, one pool for each route: address, port,
// user, secret and the jump hosts before it. A job takes a session
// of a kept connection, or waits for one, or dials. On the host a small sh
// wrapper starts the job's program in a process group of its own and says which
// (remote.go), so that a second session can kill the whole group and look
// whether anything of it lives (kill.go).
//
// Invariants: a server's host key is judged before any credential byte is sent.
// A job's texts reach the host on the session's standard input, quoted for sh
// only, never on a command line. A job is reported as stopped only when its
// process group was seen to be gone; what cannot be seen is unknown. A program
// that was never started is failed and may be tried again.
package ssh

import (
	"container/list"
	"crypto/rand"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

// Options configure a Family. Zero fields take the defaults named with them.
type Options struct {
	// Now is the clock of the snapshot that Sessions gives (time.Now).
	Now func() time.Time
	Log *slog.Logger
	// Legacy allows algorithms that are no longer safe, last, for old devices.
	Legacy bool
	// IdleTimeout closes a connection that no job has used for it (5 min).
	IdleTimeout time.Duration
	// MaxIdle bounds the connections that no job uses, over all hosts; the one
	// that was used longest ago goes first (2,000).
	MaxIdle int
	// WakeTimeout is how long a kept connection may take to open a session. Then
	// it is left to KeepAlive's judgement, and another one is used (5 s).
	WakeTimeout time.Duration
	// KeepAlive is the pause between two signs of life that a server is asked
	// for; one that stays unanswered as long breaks the connection (15 s).
	KeepAlive time.Duration
	// ConnectTimeout bounds the TCP connect, and again the handshake (10 s).
	ConnectTimeout time.Duration
	// KillGrace is the time between TERM and KILL (5 s).
	KillGrace time.Duration
	// KillWait is what looking and killing may take beyond KillGrace, until nobody
	// knows what became of a program (10 s).
	KillWait time.Duration
	// MaxConnections bounds the connections of one route, which are more than
	// one only when the server limits the sessions on each (10).
	MaxConnections int
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.IdleTimeout = or(o.IdleTimeout, 5*time.Minute)
	o.MaxIdle = or(o.MaxIdle, 2000)
	o.WakeTimeout = or(o.WakeTimeout, 5*time.Second)
	o.KeepAlive = or(o.KeepAlive, 15*time.Second)
	o.ConnectTimeout = or(o.ConnectTimeout, 10*time.Second)
	o.KillGrace = or(o.KillGrace, 5*time.Second)
	o.KillWait = or(o.KillWait, 10*time.Second)
	o.MaxConnections = or(o.MaxConnections, 10)
	return o
}

func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// Family is the SSH actions and the connections that they share.
type Family struct {
	opts Options
	// seal keys the digests of secrets that tell routes apart.
	seal [32]byte
	quit chan struct{} // closed by Close
	wg   sync.WaitGroup

	mu     sync.Mutex // guards what follows, and every pool and connection
	closed bool
	pools  map[string]*pool
	idle   list.List // of *conn without uses, longest unused first
}

// New makes a Family without connections. Close ends it.
func New(opts Options) *Family {
	f := &Family{opts: opts.withDefaults(), pools: map[string]*pool{}, quit: make(chan struct{})}
	_, _ = rand.Read(f.seal[:])
	return f
}

// Actions lists the actions of the family.
func (f *Family) Actions() []action.Action {
	return []action.Action{f.commandAction(), f.scriptAction(), f.serviceAction(), f.restartAction(), f.checkAction()}
}

// Sessions is a snapshot of the kept connections, ordered by address, port and
// user. What runs on them counts sessions and forwarded connections.
func (f *Family) Sessions() []hostler.HostSession {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []hostler.HostSession
	for _, p := range f.pools {
		for _, c := range p.conns {
			all = append(all, c.snapshot())
		}
	}
	slices.SortFunc(all, func(a, b hostler.HostSession) int {
		if d := strings.Compare(a.Address, b.Address); d != 0 {
			return d
		}
		if d := a.Port - b.Port; d != 0 {
			return d
		}
		return strings.Compare(a.User, b.User)
	})
	return all
}

// CloseHost closes the kept connections to an address, whatever their port and
// user, and says how many there were. Jobs that use them lose sight of their
// programs.
func (f *Family) CloseHost(address string) int {
	return f.closeWhere(func(c *conn) bool { return c.route.host == address })
}

// Close closes every connection and waits until all is quiet. Jobs that still
// run lose sight of their programs; later ones fail.
func (f *Family) Close() {
	f.mu.Lock()
	if !f.closed {
		f.closed = true
		close(f.quit)
	}
	f.mu.Unlock()
	f.closeWhere(func(*conn) bool { return true })
	f.wg.Wait()
}

func (f *Family) closeWhere(match func(*conn) bool) int {
	f.mu.Lock()
	var found []*conn
	for _, p := range f.pools {
		for _, c := range p.conns {
			if match(c) {
				found = append(found, c)
			}
		}
	}
	f.mu.Unlock()
	for _, c := range found {
		_ = c.client.Close()
	}
	return len(found)
}

// start runs fn as a part of the family's life; false once it is closed.
func (f *Family) start(fn func()) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.wg.Go(fn)
	return true
}
