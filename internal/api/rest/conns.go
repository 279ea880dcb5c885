package rest

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// ConnLimits bound the connections of clients.
type ConnLimits struct {
	// Most is how many connections there are at once, and half of it how many of one
	// address.
	Most int
	// Shared are the addresses of proxies, whose connections belong to many clients: all
	// connections may be theirs.
	Shared []netip.Prefix
	Log    *slog.Logger
}

// LimitConns returns a listener that keeps to the limits. When they are reached, a new
// connection replaces the one that has waited longest for its client: for a request, or
// for the rest of one. It chooses it among those of the address that has most
// connections. So neither idle clients nor slow ones keep others out, and what is being
// answered is not interrupted.
func LimitConns(l net.Listener, limits ConnLimits) net.Listener {
	limits.Log = cmp.Or(limits.Log, slog.New(slog.DiscardHandler))
	return &connLimiter{Listener: l, limits: limits, open: map[*conn]struct{}{}, byAddr: map[netip.Addr]int{}}
}

type connLimiter struct {
	net.Listener
	limits ConnLimits
	alerts alerts

	mu     sync.Mutex // guards the fields below, and those of every conn
	open   map[*conn]struct{}
	byAddr map[netip.Addr]int
}

// conn is a connection. A nil conn is one that no limiter has accepted.
type conn struct {
	net.Conn
	limiter *connLimiter
	addr    netip.Addr
	busy    int       // requests that do not wait for their client
	since   time.Time // when busy became 0
	discard bool      // see discardOnClose
}

// Accept implements net.Listener.
func (l *connLimiter) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			if n, now := l.alerts.due("files"); now {
				l.limits.Log.Warn("no more files can be opened; waiting connections are closed", "err", err, "times", n)
			}
			l.shed(netip.Addr{})
			return nil, err // net/http waits and tries again
		}
		if err != nil {
			return nil, err
		}
		if limited := l.admit(c); limited != nil {
			return limited, nil
		}
	}
}

// admit counts a new connection, in place of another one when there are too many. It
// returns nil for one that it has closed.
func (l *connLimiter) admit(c net.Conn) *conn {
	out := &conn{Conn: c, limiter: l, addr: addrOf(c.RemoteAddr()), since: time.Now()}
	for {
		l.mu.Lock()
		all, own := len(l.open) >= l.limits.Most, l.byAddr[out.addr] >= l.ownLimit(out.addr)
		if !all && !own {
			l.open[out] = struct{}{}
			l.byAddr[out.addr]++
			l.mu.Unlock()
			return out
		}
		l.mu.Unlock()
		if n, now := l.alerts.due("connections"); now {
			l.limits.Log.Warn("a limit of connections was reached; waiting ones are closed",
				"limit", l.limits.Most, "of_one_address", own, "client", out.addr, "times", n)
		}
		from := netip.Addr{}
		if own {
			from = out.addr
		}
		if !l.shed(from) {
			_ = c.Close() // every other one is being answered
			return nil
		}
	}
}

func (l *connLimiter) ownLimit(a netip.Addr) int {
	if isTrusted(a, l.limits.Shared) {
		return l.limits.Most
	}
	return max(l.limits.Most/2, 1)
}

// shed closes the connection that has waited longest for its client: of the address
// from, if it is valid, and else of the one with most connections. It reports false when
// none waits.
func (l *connLimiter) shed(from netip.Addr) bool {
	l.mu.Lock()
	var victim *conn
	for c := range l.open {
		if c.busy > 0 || from.IsValid() && c.addr != from {
			continue
		}
		if victim == nil || cmp.Or(cmp.Compare(l.byAddr[c.addr], l.byAddr[victim.addr]), victim.since.Compare(c.since)) > 0 {
			victim = c
		}
	}
	l.mu.Unlock()
	if victim == nil {
		return false
	}
	_ = victim.Close()
	return true
}

// Close implements net.Conn.
func (c *conn) Close() error {
	l := c.limiter
	l.mu.Lock()
	discard := c.discard
	c.discard = false
	if !discard {
		l.forget(c)
	}
	l.mu.Unlock()
	if discard && c.CloseWrite() == nil {
		go c.discardAndClose()
		return nil
	}
	return c.Conn.Close()
}

// forget stops counting a connection. The caller holds the lock.
func (l *connLimiter) forget(c *conn) {
	if _, open := l.open[c]; !open {
		return
	}
	delete(l.open, c)
	if l.byAddr[c.addr]--; l.byAddr[c.addr] == 0 {
		delete(l.byAddr, c.addr)
	}
}

// discardFor is how long what a client still sends is discarded.
const discardFor = time.Second

// discardOnClose makes Close discard what the client still sends, for a moment: the
// system would answer it with a reset, which deletes the server's answer before the
// client has read it.
func (c *conn) discardOnClose() {
	if c == nil {
		return
	}
	c.limiter.mu.Lock()
	defer c.limiter.mu.Unlock()
	c.discard = true
}

func (c *conn) discardAndClose() {
	_ = c.SetReadDeadline(time.Now().Add(discardFor))
	_, _ = io.Copy(io.Discard, c.Conn)
	_ = c.Close() // it counts until now
}

// CloseWrite lets net/http end an answer without a reset; see net.TCPConn.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// begin notes that the server works on a request of the connection.
func (c *conn) begin() { c.work(1) }

// end notes that the server waits for the client.
func (c *conn) end() { c.work(-1) }

func (c *conn) work(n int) {
	if c == nil {
		return
	}
	c.limiter.mu.Lock()
	defer c.limiter.mu.Unlock()
	if c.busy += n; c.busy == 0 {
		c.since = time.Now()
	}
}

func addrOf(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

type connKey struct{}

// withConn puts the connection into the context of its requests.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if own, ok := c.(*conn); ok {
		return context.WithValue(ctx, connKey{}, own)
	}
	return ctx
}

func connOf(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}
