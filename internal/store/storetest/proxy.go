package storetest

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// Proxy is a TCP proxy in front of PostgreSQL that reads the protocol's messages
// (PostgreSQL manual, "Frontend/Backend Protocol") and may break a connection at
// any of them.
type Proxy struct {
	dsn      string
	target   string
	listener net.Listener
	wg       sync.WaitGroup

	mu      sync.Mutex
	decide  func(m Message) Action
	links   map[*link]bool
	release chan struct{} // closed to forward the held messages
	resets  int
}

// Message is one message passing through a [Proxy].
type Message struct {
	// Conn numbers the connections of the proxy from 1.
	Conn       int
	FromServer bool
	// Type is the message's first byte, such as 'Q' for a simple query; 0 for the
	// start-up message, which has none.
	Type byte
	// Body follows the type and the length.
	Body []byte
}

// Action is what a [Proxy] does with a message.
type Action int

// The actions. A reset is a bare RST, as a firewall or a crashed machine sends
// it, without the error that PostgreSQL sends before it closes a connection.
const (
	// Forward forwards the message.
	Forward Action = iota
	// ResetBefore resets both sides instead of forwarding the message.
	ResetBefore
	// ResetAfter forwards the message and then resets both sides.
	ResetAfter
	// ResetClient forwards the message and resets the client. The server may still
	// process the messages that it has received.
	ResetClient
	// Hold stops the message's direction until [Proxy.Release] and leaves the
	// connections open, like a suspended process.
	Hold
)

// NewProxy starts a proxy in front of the server of dsn. It is closed when the test ends.
func NewProxy(tb testing.TB, dsn string) *Proxy {
	tb.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		tb.Fatalf("parse %s: %v", dsn, err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("listen: %v", err)
	}
	p := &Proxy{target: u.Host, listener: l, links: map[*link]bool{}, release: make(chan struct{})}
	u.Host = l.Addr().String()
	p.dsn = u.String()
	p.wg.Go(p.accept)
	tb.Cleanup(p.close)
	return p
}

// DSN returns the connection string of the proxy.
func (p *Proxy) DSN() string { return p.dsn }

// Decide sets the function that chooses the action for each message from now on; nil
// forwards all. The proxy calls fn for one message at a time.
func (p *Proxy) Decide(fn func(m Message) Action) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.decide = fn
}

// Cut resets a connection at the nth message from now, in either direction, and
// forwards all others.
func (p *Proxy) Cut(n int, how Action) {
	p.Decide(func(Message) Action {
		n--
		if n == 0 {
			return how
		}
		return Forward
	})
}

// Resets counts the connections that were reset so far.
func (p *Proxy) Resets() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.resets
}

// Release forwards the held messages.
func (p *Proxy) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.release)
	p.release = make(chan struct{})
}

func (p *Proxy) action(m Message) (Action, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.decide == nil {
		return Forward, nil
	}
	a := p.decide(m)
	if a != Forward && a != Hold {
		p.resets++
	}
	return a, p.release
}

func (p *Proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	p.decide = nil
	for l := range p.links {
		l.reset(true)
	}
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for n := 1; ; n++ {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		l := &link{p: p, n: n, client: client.(*net.TCPConn), server: server.(*net.TCPConn), done: make(chan struct{})}
		p.mu.Lock()
		p.links[l] = true
		p.mu.Unlock()
		p.wg.Go(l.run)
	}
}

// link is one proxied connection.
type link struct {
	p              *Proxy
	n              int
	client, server *net.TCPConn
	done           chan struct{} // closed by reset
	once           sync.Once
}

func (l *link) run() {
	var wg sync.WaitGroup
	wg.Go(func() { l.pump(l.client, l.server, false) })
	wg.Go(func() { l.pump(l.server, l.client, true) })
	wg.Wait()
	l.reset(false)
	l.p.mu.Lock()
	delete(l.p.links, l)
	l.p.mu.Unlock()
}

// reset closes the link, with a RST to the client, and to the server if hard.
func (l *link) reset(hard bool) {
	l.once.Do(func() {
		_ = l.client.SetLinger(0)
		if hard {
			_ = l.server.SetLinger(0)
		}
		_ = l.client.Close()
		_ = l.server.Close()
		close(l.done)
	})
}

// pump forwards the messages of one direction until the link is closed.
func (l *link) pump(from, to *net.TCPConn, fromServer bool) {
	typed := fromServer // a client's first message has no type
	for {
		m, raw, err := readMessage(from, typed)
		if err != nil {
			if errors.Is(err, io.EOF) {
				_ = to.CloseWrite()
			} else {
				l.reset(true)
			}
			return
		}
		typed = true
		m.Conn, m.FromServer = l.n, fromServer
		if !l.apply(m, raw, to) {
			return
		}
	}
}

// apply applies the test's action to one message. It returns false if the direction is
// closed.
func (l *link) apply(m Message, raw []byte, to *net.TCPConn) bool {
	action, release := l.p.action(m)
	if action == Hold {
		select {
		case <-release:
		case <-l.done:
			return false
		}
	}
	if action == ResetBefore {
		l.reset(true)
		return false
	}
	_, err := to.Write(raw)
	switch {
	case action == ResetClient:
		l.reset(false)
		return false
	case action == ResetAfter || err != nil:
		l.reset(true)
		return false
	}
	return true
}

func readMessage(r io.Reader, typed bool) (m Message, raw []byte, err error) {
	head := make([]byte, 5)
	if !typed {
		head = head[:4]
	}
	if _, err := io.ReadFull(r, head); err != nil {
		return m, nil, err
	}
	if typed {
		m.Type = head[0]
	}
	size := int(binary.BigEndian.Uint32(head[len(head)-4:])) - 4
	raw = append(head, make([]byte, max(size, 0))...)
	m.Body = raw[len(head):]
	_, err = io.ReadFull(r, m.Body)
	return m, raw, err
}
