// Package sshconn opens SSH connections to hosts and shares them between jobs: it
// finds the route through jump hosts, verifies host keys, logs in, and keeps
// connections open for later jobs. The action families ssh and netcli build on it.
//
// # Model
//
// A [Target] is a call's asset as that call reaches it: the address, the login and
// the jump hosts before it. Targets with the same key (same address, port, user,
// secret and jump hosts) share one route pool, a list of connections:
//
//	Pool
//	├── route 10.0.0.1:22 ops key#1 ─── connection ─── session, session, …
//	│                               └── connection ─── session
//	└── route 10.0.0.9:22 ops key#1 via 10.0.0.1:22 ─── connection ─── session
//
// [Pool.OpenSession] works in three steps:
//
//  1. It takes the connection of the route with the fewest uses that may open one
//     more session. A server refuses sessions over its limit (MaxSessions); the
//     connection then remembers the limit, and for a short time opens no more.
//  2. If there is none, it dials: at most one dial per route at a time, whose
//     outcome all callers that wait share, and at most MaxConnections connections.
//  3. If it may not dial, it waits until a session ends.
//
// A reused connection may have died without a sign. A session that does not open on
// it within ReuseTimeout is retried on another connection, so a dead connection
// costs a job seconds and not the job.
//
// A connection through a jump host holds one use of the jump host's connection for
// as long as it is open.
//
// A connection without uses is idle. It is closed after IdleTimeout, or earlier
// when more than MaxIdle are idle. A retired connection takes no new uses and is
// closed when its last use ends: it did not answer, or its host key is no longer
// trusted.
//
//	pool := sshconn.New(sshconn.Options{})
//	defer pool.Close()
//	target, err := pool.Target(call) // resolves the route, redacts its secrets
//	s, err := pool.OpenSession(ctx, target, sshconn.SessionOptions{})
//	…                                // use the channel, read s.Requests until it is closed
//	s.Release(requestsClosed)        // hand the connection back
//
// # Invariants
//
//   - HostKeyFirst: the server's host key is verified before any credential byte is
//     sent, and again, against the newest decisions, before a connection is reused.
//     When keys are exchanged again, the server must present the same one.
//   - SecretKeyed: only a call that brings the same secret shares a connection.
//   - OneDial: per route at most one dial is in progress for shared connections.
//   - NoLeak: every goroutine ends with its connection; [Pool.Close] waits for all.
package sshconn

import (
	"cmp"
	"container/list"
	"crypto/rand"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"hostler.dev/hostler"
)

// Options configure a Pool. Zero fields take the defaults named with them.
type Options struct {
	// Now is the clock of the snapshot that Sessions returns (time.Now).
	Now func() time.Time
	Log *slog.Logger
	// Legacy allows algorithms that are no longer safe, as the last choice, for old
	// devices.
	Legacy bool
	// Allow are ranges of the local link and of metadata services that may be reached
	// nevertheless; see [egress.ForHosts].
	Allow []netip.Prefix
	// IdleTimeout is how long a connection stays open without uses (5 min).
	IdleTimeout time.Duration
	// MaxIdle limits the idle connections over all hosts; the one idle for longest
	// is closed first (2,000).
	MaxIdle int
	// ReuseTimeout is how long a reused connection may take to open a session. After
	// that the connection is retired and another one is used (5 s).
	ReuseTimeout time.Duration
	// KeepAlive is the interval of keepalive requests; one that stays unanswered for
	// as long closes the connection (15 s).
	KeepAlive time.Duration
	// ConnectTimeout limits the TCP connect, and again the handshake (10 s).
	ConnectTimeout time.Duration
	// MaxConnections limits the connections of one route. There is more than one
	// only where the server limits the sessions on each (10).
	MaxConnections int
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	o.IdleTimeout = cmp.Or(o.IdleTimeout, 5*time.Minute)
	o.MaxIdle = cmp.Or(o.MaxIdle, 2000)
	o.ReuseTimeout = cmp.Or(o.ReuseTimeout, 5*time.Second)
	o.KeepAlive = cmp.Or(o.KeepAlive, 15*time.Second)
	o.ConnectTimeout = cmp.Or(o.ConnectTimeout, 10*time.Second)
	o.MaxConnections = cmp.Or(o.MaxConnections, 10)
	return o
}

// Pool is a set of open SSH connections.
type Pool struct {
	opts Options
	// digestKey keys the digests of secrets in route keys.
	digestKey [32]byte
	quit      chan struct{} // closed by Close
	wg        sync.WaitGroup

	// mu guards what follows and the mutable state of every routePool and conn. One
	// lock for all of them: a use on one route holds a use on another, its jump
	// host's, and no I/O happens under it.
	mu     sync.Mutex
	closed bool
	routes map[string]*routePool // by route.key
	idle   list.List             // of *conn without uses, idle for longest first
}

// New returns a Pool without connections. Close releases it.
func New(opts Options) *Pool {
	p := &Pool{opts: opts.withDefaults(), routes: map[string]*routePool{}, quit: make(chan struct{})}
	_, _ = rand.Read(p.digestKey[:])
	return p
}

// Sessions returns a snapshot of the open connections, ordered by address, port and
// user. Running counts the sessions and forwarded connections on each.
func (p *Pool) Sessions() []hostler.HostSession {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []hostler.HostSession
	for _, rp := range p.routes {
		for _, c := range rp.conns {
			all = append(all, c.snapshot())
		}
	}
	slices.SortFunc(all, func(a, b hostler.HostSession) int {
		return cmp.Or(cmp.Compare(a.Address, b.Address), a.Port-b.Port, cmp.Compare(a.User, b.User))
	})
	return all
}

// CloseHost closes the connections to an address, whatever their port and user, and
// returns their number. The outcome of jobs that run on them may become unknown.
func (p *Pool) CloseHost(address string) int {
	return p.closeWhere(func(c *conn) bool { return c.route.host == address })
}

// Close closes every connection and waits until all goroutines have ended. The
// outcome of jobs that still run may become unknown; later calls fail.
func (p *Pool) Close() {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.quit)
	}
	p.mu.Unlock()
	p.closeWhere(func(*conn) bool { return true })
	p.wg.Wait()
}

func (p *Pool) closeWhere(match func(*conn) bool) int {
	p.mu.Lock()
	var found []*conn
	for _, rp := range p.routes {
		for _, c := range rp.conns {
			if match(c) {
				found = append(found, c)
			}
		}
	}
	p.mu.Unlock()
	for _, c := range found {
		_ = c.client.Close()
	}
	return len(found)
}

// start runs fn in a goroutine that Close waits for. It returns false once the pool
// is closed.
func (p *Pool) start(fn func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.wg.Go(fn)
	return true
}
