package sshconn

import (
	"context"
	"errors"
	"time"

	"golang.org/x/crypto/ssh"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/wait"
)

// MaxLosses is how often in a row a new connection may break before a job has used
// it. OpenSession gives up then, and so do callers that retry on a lost session.
const MaxLosses = 3

const (
	// fullFor is how long a connection opens no sessions after the server refused
	// one; then one session more than the server allowed is tried.
	fullFor = 500 * time.Millisecond
	// maxRefusals is how often in a row a connection without any session may refuse
	// one before the server is taken to refuse all of them.
	maxRefusals = 6
	// dialPause is how long no additional connection is dialled after a dial failed.
	dialPause = 5 * time.Second
)

// routePool is the connections of one route. Pool.mu guards it.
type routePool struct {
	conns   []*conn
	callers int // calls inside acquire now; keeps the pool in Pool.routes
	// dialing is the one dial in progress; all callers that wait share its outcome.
	dialing    *dialing
	noDialTill time.Time
	// changed is closed, and replaced, when a waiting caller should look again.
	changed chan struct{}
}

type dialing struct {
	done  chan struct{}
	fault *action.Fault // callers get a copy, to which they may add
}

// demand is what a caller of acquire needs of a connection.
type demand struct {
	session bool // a new session, which the server may refuse; otherwise a forward
	urgent  bool // may exceed MaxConnections
}

// SessionOptions configure [Pool.OpenSession].
type SessionOptions struct {
	// Urgent allows one connection over MaxConnections: a program must be killed, and
	// all sessions may be taken by programs like it.
	Urgent bool
}

// OpenSession opens a session on a connection of the target's route. It waits while
// the server allows no more sessions, and dials when no connection is available.
func (p *Pool) OpenSession(ctx context.Context, t *Target, opts SessionOptions) (*Session, error) {
	for losses := 0; ; {
		c, reused, err := p.acquire(ctx, t.route, t.call, demand{session: true, urgent: opts.Urgent})
		if err != nil {
			return nil, err
		}
		s, err := p.sessionOn(ctx, c, reused)
		var refused *ssh.OpenChannelError
		switch {
		case err == nil:
			s.reused = reused
			p.sessionOpened(c)
			return s, nil
		case ctx.Err() != nil:
			p.release(c)
			return nil, action.StoppedFault(ctx, "before it started", "尚未开始")
		case errors.As(err, &refused):
			if p.sessionRefused(c) {
				return nil, action.NewFault(hostler.ErrKindRefused,
					"%s accepts the login of %q but refuses to open a session (MaxSessions)",
					"%s 允许 %q 登录，但拒绝打开会话（MaxSessions）", t.Where(), t.User).Because(err)
			}
		case errors.Is(err, errUnresponsive):
			p.retire(c)
			p.release(c)
		default:
			_ = c.client.Close()
			p.remove(c)
			p.release(c)
			if reused {
				continue
			}
			if losses++; losses >= MaxLosses {
				return nil, action.NewFault(hostler.ErrKindConnLost,
					"new connections to %s keep breaking", "与 %s 的连接反复中断", t.Where()).Because(err)
			}
		}
	}
}

// errUnresponsive means that a reused connection did not answer in time. Its host may
// have vanished, or be slow: other sessions on the connection are left alone.
var errUnresponsive = errors.New("no answer on a reused connection")

// sessionOn opens a session, on a reused connection within ReuseTimeout.
func (p *Pool) sessionOn(ctx context.Context, c *conn, reused bool) (*Session, error) {
	if !reused {
		return c.newSession(ctx)
	}
	limited, cancel := context.WithTimeoutCause(ctx, p.opts.ReuseTimeout, errUnresponsive)
	defer cancel()
	return c.newSession(limited)
}

// acquireForward returns a connection to a jump host, to forward through; release
// returns it. A reused one is probed first: a forward has no time limit of its own by
// which a dead connection would show.
func (p *Pool) acquireForward(ctx context.Context, r *route, call *action.Call) (*conn, error) {
	for {
		c, reused, err := p.acquire(ctx, r, call, demand{})
		if err != nil {
			return nil, err
		}
		if !reused || c.responds(ctx, p.opts.ReuseTimeout) {
			return c, nil
		}
		if ctx.Err() != nil {
			p.release(c)
			return nil, action.StoppedFault(ctx, "while it connected", "正在建立连接")
		}
		p.retire(c)
		p.release(c)
	}
}

// acquire finds, awaits or dials a connection and counts one use of it. It reports
// whether the connection was proven by earlier use. The caller that dials is the
// first to use the new connection, so that no untried connection becomes idle.
func (p *Pool) acquire(
	ctx context.Context, r *route, call *action.Call, d demand,
) (c *conn, reused bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	rp := p.enter(r.key)
	defer p.exit(r.key, rp)
	for {
		if p.closed {
			return nil, false, StoppingFault()
		}
		if c = rp.pick(r, d); c != nil {
			c.addUse()
			return c, c.proven, nil
		}
		if !rp.mayDial(p.opts.MaxConnections, d) {
			if err = p.await(ctx, rp); err != nil {
				return nil, false, err
			}
			continue
		}
		switch c, err = p.dialShared(ctx, rp, r, call); {
		case err == nil:
			return c, false, nil
		case rp.usable() == 0:
			return nil, false, err
		}
	}
}

func (p *Pool) enter(key string) *routePool {
	rp := p.routes[key]
	if rp == nil {
		rp = &routePool{changed: make(chan struct{})}
		p.routes[key] = rp
	}
	rp.callers++
	return rp
}

func (p *Pool) exit(key string, rp *routePool) {
	rp.callers--
	p.deleteIfEmpty(key, rp)
}

// deleteIfEmpty deletes a route pool without connections and callers.
func (p *Pool) deleteIfEmpty(key string, rp *routePool) {
	if rp.callers == 0 && len(rp.conns) == 0 && p.routes[key] == rp {
		delete(p.routes, key)
	}
}

// pick returns the connection with the fewest uses that is available. It retires
// connections whose host key the call's decisions no longer trust.
func (rp *routePool) pick(r *route, d demand) *conn {
	now := time.Now()
	var best *conn
	for _, c := range rp.conns {
		switch {
		case c.retired, d.session && !c.acceptsSession(now):
		case !c.trustedFor(r):
			c.retire()
		case best == nil || c.uses < best.uses:
			best = c
		}
	}
	return best
}

func (rp *routePool) mayDial(limit int, d demand) bool {
	if rp.dialing != nil {
		return false
	}
	n := rp.usable()
	return n == 0 || (d.urgent || n < limit) && time.Now().After(rp.noDialTill)
}

// usable counts the connections that accept uses. Retired ones stay in the pool until
// their last use ends, so that Sessions lists them and CloseHost closes them.
func (rp *routePool) usable() int {
	n := 0
	for _, c := range rp.conns {
		if !c.retired {
			n++
		}
	}
	return n
}

// dialShared dials for all callers that wait in the route pool; the caller already
// has a use of the new connection. It is called with Pool.mu held and unlocks it
// while it dials.
func (p *Pool) dialShared(ctx context.Context, rp *routePool, r *route, call *action.Call) (*conn, error) {
	d := &dialing{done: make(chan struct{})}
	rp.dialing = d
	p.mu.Unlock()
	c, err := p.dial(ctx, r, call)
	p.mu.Lock()
	rp.dialing = nil
	switch {
	case err != nil:
		rp.noDialTill = time.Now().Add(dialPause)
	case p.closed:
		_ = c.client.Close()
		p.releaseLocked(c.via)
		c, err = nil, StoppingFault()
	default:
		c.addUse()
		p.add(rp, c)
	}
	// The end of this caller's context is not shared.
	if err != nil && ctx.Err() == nil {
		d.fault = action.AsFault(err).Clone()
	}
	close(d.done)
	rp.notify()
	return c, err
}

// add puts a new connection into its route pool and starts its goroutines.
func (p *Pool) add(rp *routePool, c *conn) {
	rp.conns = append(rp.conns, c)
	p.wg.Go(c.watch)
	p.wg.Go(func() { c.keepAlive(p.opts.KeepAlive) })
}

// await waits until the route pool changes, or for fullFor, after which a refused
// session may be tried again. A dial that fails while there is no usable connection
// fails every caller that waits for it.
func (p *Pool) await(ctx context.Context, rp *routePool) error {
	d, changed := rp.dialing, rp.changed
	p.mu.Unlock()
	_, _ = wait.Signal(ctx, fullFor, changed)
	p.mu.Lock()
	if ctx.Err() != nil {
		return action.StoppedFault(ctx, "while it waited for a connection", "正在等待连接")
	}
	if d != nil && d.finished() && d.fault != nil && rp.usable() == 0 {
		return d.fault.Clone()
	}
	return nil
}

func (d *dialing) finished() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

// notify makes all waiting callers look again.
func (rp *routePool) notify() {
	close(rp.changed)
	rp.changed = make(chan struct{})
}
