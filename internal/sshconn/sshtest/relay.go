package sshtest

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// Relay is a TCP proxy in front of a server, with which a test silences or cuts
// connections.
type Relay struct {
	// Port is where it listens, on 127.0.0.1.
	Port int

	accepted atomic.Int64 // connections so far
	silenced atomic.Int64 // connections up to this number pass nothing
	// cut is the size from which on a client's chunk is not passed and its connection
	// is closed; 0: all pass.
	cut atomic.Int64

	mu   sync.Mutex
	open []net.Conn
}

// NewRelay starts a relay to target until the test's end.
func NewRelay(tb testing.TB, target string) *Relay {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	r := &Relay{Port: l.Addr().(*net.TCPAddr).Port}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			r.keep(in)
			out, err := net.Dial("tcp", target)
			if err != nil {
				return
			}
			r.keep(out)
			n := r.accepted.Add(1)
			wg.Go(func() { r.pass(n, in, out, r.cutsAt) })
			wg.Go(func() { r.pass(n, out, in, func(int) bool { return false }) })
		}
	})
	tb.Cleanup(func() {
		_ = l.Close()
		r.closeAll()
		wg.Wait()
	})
	return r
}

func (r *Relay) keep(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = append(r.open, c)
}

func (r *Relay) closeAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.open {
		_ = c.Close()
	}
}

// Silence makes the connections so far pass nothing; they stay open. Later ones work.
func (r *Relay) Silence() { r.silenced.Store(r.accepted.Load()) }

// CutAt cuts the next connection whose client sends a chunk of at least that many bytes.
// The size identifies what is sent, even when an earlier job's last bytes come late: less than a
// hundred bytes open a session, some more ask for the wrapper, and then follows the program.
func (r *Relay) CutAt(size int64) { r.cut.Store(size) }

// cutsAt reports whether to cut the connection at a chunk of n bytes.
func (r *Relay) cutsAt(n int) bool {
	size := r.cut.Load()
	return size > 0 && int64(n) >= size && r.cut.CompareAndSwap(size, 0)
}

func (r *Relay) pass(number int64, from, to net.Conn, cutsAt func(n int) bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err == nil && cutsAt(n) {
			_ = from.Close()
			err = io.EOF
		}
		if err != nil {
			if number > r.silenced.Load() {
				_ = to.Close()
			}
			return
		}
		if number > r.silenced.Load() {
			_, _ = to.Write(buf[:n])
		}
	}
}
