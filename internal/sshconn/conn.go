package sshconn

import (
	"container/list"
	"context"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"hostler.dev/hostler"
)

// closeWait limits the wait for the server's half of a session's close.
const closeWait = 5 * time.Second

// conn is an open connection. Pool.mu guards the second group of fields.
type conn struct {
	pool    *Pool
	route   *route
	client  *ssh.Client
	hostKey ssh.PublicKey
	via     *conn         // the jump host's connection; one use of it is held
	gone    chan struct{} // closed when the connection has ended

	since, lastUsed time.Time
	uses            int // sessions and forwards
	retired         bool
	sessionLimit    int       // sessions that the server seems to allow; 0: not known
	fullTill        time.Time // the server refused a session less than fullFor before it
	refusals        int       // refusals in a row while no session was open
	// proven: a session or forward succeeded on it, so that a loss is the network's
	// doing and does not count towards MaxLosses.
	proven    bool
	idleTimer *time.Timer
	idleElem  *list.Element // in Pool.idle; nil while in use
}

func (c *conn) snapshot() hostler.HostSession {
	return hostler.HostSession{
		Address: c.route.host, Port: c.route.port, User: c.route.user(),
		Since: c.since, LastUsed: c.lastUsed, Running: c.uses,
	}
}

// trustedFor reports whether a job that brings r, and with it the newest decisions
// about host keys, may use the connection.
func (c *conn) trustedFor(r *route) bool {
	if !trusts(r.asset, c.hostKey) {
		return false
	}
	return r.via == nil || c.via.trustedFor(r.via)
}

// acceptsSession reports whether the server may open one more session. Forwards count
// as sessions here, though not for the server: jobs rarely run on jump hosts.
func (c *conn) acceptsSession(now time.Time) bool {
	if now.Before(c.fullTill) {
		return c.refusals == 0 && c.uses < c.sessionLimit
	}
	return c.sessionLimit == 0 || c.uses <= c.sessionLimit
}

// addUse counts one more use. Pool.mu is held.
func (c *conn) addUse() {
	c.uses++
	c.lastUsed = c.pool.opts.Now()
	c.leaveIdle()
}

// leaveIdle ends the idle time. Pool.mu is held.
func (c *conn) leaveIdle() {
	if c.idleElem == nil {
		return
	}
	c.idleTimer.Stop()
	c.pool.idle.Remove(c.idleElem)
	c.idleElem = nil
}

// sessionOpened records that the server opened a session.
func (p *Pool) sessionOpened(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.refusals = 0
	if c.sessionLimit > 0 {
		c.sessionLimit = max(c.sessionLimit, c.uses)
	}
	c.proven = true
}

// forwarded records that a jump host forwarded; c may be nil.
func (p *Pool) forwarded(c *conn) {
	if c == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c.proven = true
}

// sessionRefused ends a use that the server refused, and lets the connection open no
// sessions for fullFor. It reports whether the server seems to refuse every session.
func (p *Pool) sessionRefused(c *conn) (always bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.fullTill = time.Now().Add(fullFor)
	c.uses--
	c.sessionLimit = max(1, c.uses)
	if c.uses > 0 {
		return false
	}
	c.refusals++
	p.idleIfUnused(c)
	return c.refusals >= maxRefusals
}

// release ends a use; c may be nil.
func (p *Pool) release(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.releaseLocked(c)
}

func (p *Pool) releaseLocked(c *conn) {
	if c == nil {
		return
	}
	c.uses--
	c.proven, c.lastUsed = true, p.opts.Now()
	p.idleIfUnused(c)
	if rp := p.routes[c.route.key]; rp != nil {
		rp.notify()
	}
}

// idleIfUnused starts the idle time of a connection without uses, or closes it when
// it is retired.
func (p *Pool) idleIfUnused(c *conn) {
	if c.uses > 0 {
		return
	}
	if c.retired || p.closed {
		_ = c.client.Close()
		return
	}
	c.leaveIdle()
	c.idleTimer = time.AfterFunc(p.opts.IdleTimeout, func() { p.expire(c) })
	c.idleElem = p.idle.PushBack(c)
	if p.idle.Len() > p.opts.MaxIdle {
		p.idle.Front().Value.(*conn).retire()
	}
}

// expire closes a connection that was idle for IdleTimeout.
func (p *Pool) expire(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.uses == 0 {
		c.retire()
	}
}

func (p *Pool) retire(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.retire()
}

// retire makes the connection accept no more uses; the end of the last one closes
// it. Pool.mu is held.
func (c *conn) retire() {
	c.retired = true
	c.leaveIdle()
	if c.uses == 0 {
		_ = c.client.Close()
	}
}

// remove takes a connection that has ended out of its route pool. It may be called
// more than once.
func (p *Pool) remove(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.retired = true
	c.leaveIdle()
	select {
	case <-c.gone:
		return
	default:
		close(c.gone)
	}
	p.releaseLocked(c.via)
	if rp := p.routes[c.route.key]; rp != nil {
		rp.conns = slices.DeleteFunc(rp.conns, func(o *conn) bool { return o == c })
		rp.notify()
		p.deleteIfEmpty(c.route.key, rp)
	}
}

// Session is an open session of a shared connection.
type Session struct {
	ssh.Channel
	// Requests are what the server sends; the holder must read them until the channel
	// is closed, which is the session's end.
	Requests <-chan *ssh.Request

	conn   *conn
	reused bool
}

// Reused reports whether earlier jobs used the connection, so that it may have died
// since.
func (s *Session) Reused() bool { return s.reused }

// RetireConnection makes the session's connection accept no more sessions: it broke.
func (s *Session) RetireConnection() { s.conn.pool.retire(s.conn) }

// Release closes the session. The connection is free for the next session when
// closed is closed, or closeWait later: until the server has closed its half, the
// session counts towards the server's limit.
func (s *Session) Release(closed <-chan struct{}) {
	_ = s.Close()
	c := s.conn
	wait := func() {
		timer := time.NewTimer(closeWait)
		defer timer.Stop()
		select {
		case <-closed:
		case <-timer.C:
		}
		c.pool.release(c)
	}
	if !c.pool.start(wait) {
		c.pool.release(c)
	}
}

// newSession opens a session. The protocol cannot withdraw the request, so a session
// that opens after the context's end is closed again.
func (c *conn) newSession(ctx context.Context) (*Session, error) {
	type answer struct {
		session *Session
		err     error
	}
	got := make(chan answer)
	abandoned := make(chan struct{})
	defer close(abandoned)
	started := c.pool.start(func() {
		ch, reqs, err := c.client.OpenChannel("session", nil)
		a := answer{&Session{Channel: ch, Requests: reqs, conn: c}, err}
		select {
		case got <- a:
		case <-abandoned:
			if err == nil {
				go ssh.DiscardRequests(reqs)
				_ = ch.Close()
			}
		}
	})
	if !started {
		return nil, context.Canceled
	}
	select {
	case a := <-got:
		return a.session, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// responds reports whether the server answers a keepalive request in time.
func (c *conn) responds(ctx context.Context, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	got := make(chan error, 1)
	if !c.pool.start(func() { got <- c.ping() }) {
		return false
	}
	select {
	case err := <-got:
		return err == nil
	case <-ctx.Done():
		return false
	}
}

// watch removes the connection from its route pool when it ends.
func (c *conn) watch() {
	err := c.client.Wait()
	c.pool.opts.Log.Debug("ssh connection ended",
		"address", c.route.addr, "user", c.route.user(), "reason", err)
	c.pool.remove(c)
}

// keepAliveRequest is the request that OpenSSH clients send. A server also answers
// requests that it does not know, with a failure, which is enough.
const keepAliveRequest = "keepalive@openssh.com"

// ping sends a keepalive request and waits for the answer.
func (c *conn) ping() error {
	_, _, err := c.client.SendRequest(keepAliveRequest, true, nil)
	return err
}

// keepAlive pings the server at an interval and closes the connection when an answer
// is missing: TCP alone does not notice a host that vanished. It also closes the
// connection when the pool is closed.
func (c *conn) keepAlive(every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-c.gone:
			return
		case <-c.pool.quit:
			_ = c.client.Close()
			return
		case <-ticker.C:
		}
		overdue := time.AfterFunc(every, func() { _ = c.client.Close() })
		err := c.ping()
		overdue.Stop()
		if err != nil {
			_ = c.client.Close()
			return
		}
	}
}
