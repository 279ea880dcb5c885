package ssh

import (
	"container/list"
	"context"
	"errors"
	"slices"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

const (
	// fullFor is how long a server that refused a session is taken at its word;
	// then one session more than it allowed is tried.
	fullFor = 500 * time.Millisecond
	// maxBarren is how often in a row a connection without any session may
	// refuse one before the server is taken to refuse them all.
	maxBarren = 6
	// maxLosses is how often in a row a new connection may break under a job that
	// has not started yet.
	maxLosses = 3
	// dialPause is how long a failed additional connection is not tried again.
	dialPause = 5 * time.Second
	// closeWait bounds the wait for the server's half of a session's end.
	closeWait = 5 * time.Second
)

// pool is the connections of one route. Family.mu guards it.
type pool struct {
	conns []*conn
	users int // calls that look for a connection in it now
	// dialing is the one dial in progress, whose outcome all who wait share.
	dialing   *dialing
	noDialTil time.Time
	// changed is closed, and replaced, when waiting may have become pointless.
	changed chan struct{}
}

type dialing struct {
	done chan struct{}
	err  error
}

// conn is a kept connection. Family.mu guards what follows since.
type conn struct {
	family  *Family
	route   *route
	client  *gossh.Client
	hostKey gossh.PublicKey
	via     *conn         // held while this one stands
	gone    chan struct{} // closed when the connection has ended

	since, used time.Time
	open        int // sessions and forwards in use
	dead        bool
	limit       int       // sessions that the server seems to allow; 0 is not known
	fullTil     time.Time // a session was refused within fullFor before it
	barren      int       // refusals in a row without any session open
	kept        bool      // it was of use before: its end is not news
	idle        *time.Timer
	resting     *list.Element // of Family.idle; nil while in use
}

func (c *conn) snapshot() hostler.HostSession {
	return hostler.HostSession{
		Address: c.route.host, Port: c.route.port, User: c.route.user(),
		Since: c.since, LastUsed: c.used, Running: c.open,
	}
}

// trusted says whether a job that comes with these decisions about host keys
// may use the connection.
func (c *conn) trusted(r *route) bool {
	if !trusts(r.asset, c.hostKey) {
		return false
	}
	return r.via == nil || c.via.trusted(r.via)
}

// session is an open session of a kept connection.
type session struct {
	gossh.Channel
	requests <-chan *gossh.Request
	conn     *conn
	kept     bool // the connection was kept from other uses
}

// want is what somebody needs of a connection.
type want struct {
	session bool // a new session, which the server may refuse; else a forward
	urgent  bool // may exceed MaxConnections: something must be killed
}

// open gives a session on a connection of the route. It waits while the server
// allows no more, and dials when there is no connection or none has room.
func (f *Family) open(ctx context.Context, r *route, c *action.Call, urgent bool) (*session, error) {
	losses := 0
	for {
		conn, kept, err := f.take(ctx, r, c, want{session: true, urgent: urgent})
		if err != nil {
			return nil, err
		}
		s, err := f.sessionOn(ctx, conn, kept)
		var refused *gossh.OpenChannelError
		switch {
		case err == nil:
			s.kept = kept
			f.opened(conn)
			return s, nil
		case ctx.Err() != nil:
			f.release(conn)
			return nil, stopped(ctx, "before it started", "尚未开始")
		case errors.As(err, &refused):
			if f.refusedBy(conn) {
				return nil, failed(hostler.ErrKindRefused,
					"%s lets %q log in but refuses to open a session (MaxSessions)",
					"%s 允许 %q 登录，但拒绝打开会话（MaxSessions）", r.where(), r.user()).because(err)
			}
		case errors.Is(err, errAsleep):
			f.retire(conn)
			f.release(conn)
		default:
			_ = conn.client.Close()
			f.drop(conn)
			f.release(conn)
			if kept {
				continue
			}
			if losses++; losses >= maxLosses {
				return nil, failed(hostler.ErrKindConnLost,
					"the connection to %s breaks again and again", "与 %s 的连接反复中断", r.where()).because(err)
			}
		}
	}
}

// errAsleep says that a kept connection gave no answer in time. Its host may be
// gone without a word, or be slow: what else runs there is not disturbed.
var errAsleep = errors.New("no answer on a kept connection")

// sessionOn opens a session, on a kept connection within WakeTimeout.
func (f *Family) sessionOn(ctx context.Context, c *conn, kept bool) (*session, error) {
	if !kept {
		return c.newSession(ctx)
	}
	limited, cancel := context.WithTimeoutCause(ctx, f.opts.WakeTimeout, errAsleep)
	defer cancel()
	return c.newSession(limited)
}

// hold gives a connection of the route to forward through; release gives it
// back. A kept one must answer, for how long a forward takes is not its doing.
func (f *Family) hold(ctx context.Context, r *route, c *action.Call) (*conn, error) {
	for {
		conn, kept, err := f.take(ctx, r, c, want{})
		if err != nil {
			return nil, err
		}
		if !kept || conn.answers(ctx, f.opts.WakeTimeout) {
			return conn, nil
		}
		if ctx.Err() != nil {
			f.release(conn)
			return nil, stopped(ctx, "while it connected", "正在建立连接")
		}
		f.retire(conn)
		f.release(conn)
	}
}

// answers says whether the server gives a sign of life in time.
func (c *conn) answers(ctx context.Context, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	got := make(chan error, 1)
	if !c.family.start(func() { got <- c.ping() }) {
		return false
	}
	select {
	case err := <-got:
		return err == nil
	case <-ctx.Done():
		return false
	}
}

// take finds, awaits or makes a connection and counts its use. It says whether the
// connection was of use before. Whoever makes one is the first to use it, so that
// none lies about untried.
func (f *Family) take(ctx context.Context, r *route, c *action.Call, w want) (conn *conn, kept bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.enter(r.key)
	defer f.leave(r.key, p)
	for {
		if f.closed {
			return nil, false, stopping()
		}
		if conn = p.pick(r, w); conn != nil {
			conn.use()
			return conn, conn.kept, nil
		}
		if !p.mayDial(f.opts.MaxConnections, w) {
			if err = f.await(ctx, p); err != nil {
				return nil, false, err
			}
			continue
		}
		switch conn, err = f.dialInto(ctx, p, r, c); {
		case err == nil:
			return conn, false, nil
		case p.live() == 0:
			return nil, false, err
		}
	}
}

func (f *Family) enter(key string) *pool {
	p := f.pools[key]
	if p == nil {
		p = &pool{changed: make(chan struct{})}
		f.pools[key] = p
	}
	p.users++
	return p
}

func (f *Family) leave(key string, p *pool) {
	p.users--
	f.tidy(key, p)
}

// tidy forgets a pool that nothing needs.
func (f *Family) tidy(key string, p *pool) {
	if p.users == 0 && len(p.conns) == 0 && f.pools[key] == p {
		delete(f.pools, key)
	}
}

// pick chooses the connection with the fewest uses that has room. One that the
// newest decisions about host keys condemn is retired.
func (p *pool) pick(r *route, w want) *conn {
	now := time.Now()
	var best *conn
	for _, c := range p.conns {
		switch {
		case c.dead, w.session && !c.hasRoom(now):
		case !c.trusted(r):
			c.retire()
		case best == nil || c.open < best.open:
			best = c
		}
	}
	return best
}

// hasRoom says whether the server may open one more session. Forwards count as
// sessions here, though not there: a jump host is rarely worked on.
func (c *conn) hasRoom(now time.Time) bool {
	if now.Before(c.fullTil) {
		return c.barren == 0 && c.open < c.limit
	}
	return c.limit == 0 || c.open <= c.limit
}

func (p *pool) mayDial(limit int, w want) bool {
	if p.dialing != nil {
		return false
	}
	live := p.live()
	return live == 0 || (w.urgent || live < limit) && time.Now().After(p.noDialTil)
}

// live counts the connections that take uses. Retired ones stay in the pool until
// their last use ends, so that a person sees them and can close them.
func (p *pool) live() int {
	n := 0
	for _, c := range p.conns {
		if !c.dead {
			n++
		}
	}
	return n
}

// dialInto makes a connection for everybody who waits in the pool; the caller uses
// it already. It is called with mu held and gives it up meanwhile.
func (f *Family) dialInto(ctx context.Context, p *pool, r *route, c *action.Call) (*conn, error) {
	d := &dialing{done: make(chan struct{})}
	p.dialing = d
	f.mu.Unlock()
	conn, err := f.dial(ctx, r, c)
	f.mu.Lock()
	p.dialing = nil
	switch {
	case err != nil:
		p.noDialTil = time.Now().Add(dialPause)
	case f.closed:
		_ = conn.client.Close()
		f.releaseLocked(conn.via)
		conn, err = nil, stopping()
	default:
		conn.use()
		f.adopt(p, conn)
	}
	if ctx.Err() == nil {
		d.err = err
	}
	close(d.done)
	p.wake()
	return conn, err
}

// adopt puts a new connection into its pool and starts what watches it.
func (f *Family) adopt(p *pool, c *conn) {
	p.conns = append(p.conns, c)
	f.wg.Go(c.watch)
	f.wg.Go(func() { c.keepAlive(f.opts.KeepAlive) })
}

// await waits until the pool changes, or a while: refusals have a time limit.
// Who waits for a dial without which there is no connection shares its error,
// unless that error is the other's own end.
func (f *Family) await(ctx context.Context, p *pool) error {
	d, changed := p.dialing, p.changed
	f.mu.Unlock()
	timer := time.NewTimer(fullFor)
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
	}
	timer.Stop()
	f.mu.Lock()
	if ctx.Err() != nil {
		return stopped(ctx, "while it waited for a connection", "正在等待连接")
	}
	if d != nil && d.finished() && d.err != nil && p.live() == 0 {
		return d.err
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

func (p *pool) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// use counts one more use. Family.mu is held.
func (c *conn) use() {
	c.open++
	c.used = c.family.opts.Now()
	c.stir()
}

// stir ends the idle time. Family.mu is held.
func (c *conn) stir() {
	if c.resting == nil {
		return
	}
	c.idle.Stop()
	c.family.idle.Remove(c.resting)
	c.resting = nil
}

// opened notes that the server does open sessions.
func (f *Family) opened(c *conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.barren = 0
	if c.limit > 0 {
		c.limit = max(c.limit, c.open)
	}
	c.kept = true
}

// forwarded notes that the server does forward; nil is no jump host.
func (f *Family) forwarded(c *conn) {
	if c == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c.kept = true
}

// refusedBy ends a use that the server refused and leaves the connection alone
// for a while. It says whether the server seems to refuse every session.
func (f *Family) refusedBy(c *conn) (always bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.fullTil = time.Now().Add(fullFor)
	c.open--
	c.limit = max(1, c.open)
	if c.open > 0 {
		return false
	}
	c.barren++
	f.rest(c)
	return c.barren >= maxBarren
}

// release ends a use; nil is none.
func (f *Family) release(c *conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.releaseLocked(c)
}

func (f *Family) releaseLocked(c *conn) {
	if c == nil {
		return
	}
	c.open--
	c.kept, c.used = true, f.opts.Now()
	f.rest(c)
	if p := f.pools[c.route.key]; p != nil {
		p.wake()
	}
}

// rest begins the idle time of a connection without uses, or ends a retired
// one.
func (f *Family) rest(c *conn) {
	if c.open > 0 {
		return
	}
	if c.dead || f.closed {
		_ = c.client.Close()
		return
	}
	c.stir()
	c.idle = time.AfterFunc(f.opts.IdleTimeout, func() { f.expire(c) })
	c.resting = f.idle.PushBack(c)
	if f.idle.Len() > f.opts.MaxIdle {
		f.idle.Front().Value.(*conn).retire()
	}
}

// expire closes a connection whose idle time is over.
func (f *Family) expire(c *conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.open == 0 {
		c.retire()
	}
}

// retire lets a connection take no more uses.
func (f *Family) retire(c *conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.retire()
}

// retire takes no more uses; the last one to end closes the connection.
// Family.mu is held.
func (c *conn) retire() {
	c.dead = true
	c.stir()
	if c.open == 0 {
		_ = c.client.Close()
	}
}

// drop forgets a connection that ended. It may be called again.
func (f *Family) drop(c *conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.dead = true
	c.stir()
	select {
	case <-c.gone:
		return
	default:
		close(c.gone)
	}
	f.releaseLocked(c.via)
	if p := f.pools[c.route.key]; p != nil {
		p.conns = slices.DeleteFunc(p.conns, func(o *conn) bool { return o == c })
		p.wake()
		f.tidy(c.route.key, p)
	}
}

// newSession opens a session. The protocol has no way to give up waiting, so
// what opens after the context's end is closed again.
func (c *conn) newSession(ctx context.Context) (*session, error) {
	type answer struct {
		session *session
		err     error
	}
	got := make(chan answer)
	given := make(chan struct{})
	defer close(given)
	started := c.family.start(func() {
		ch, reqs, err := c.client.OpenChannel("session", nil)
		a := answer{&session{Channel: ch, requests: reqs, conn: c}, err}
		select {
		case got <- a:
		case <-given:
			if err == nil {
				go gossh.DiscardRequests(reqs)
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
