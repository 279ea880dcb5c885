package ssh_test

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// relay passes bytes on. Connections that it silences stay open and pass nothing.
type relay struct {
	port   int
	conns  atomic.Int64 // so far
	silent atomic.Int64 // connections up to this one are silenced
	// left is how many more chunks of a client pass before the connections are
	// cut, when it is positive.
	left atomic.Int64
}

func newRelay(t *testing.T, target string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{port: portOf(l)}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	keep := func(c net.Conn) { mu.Lock(); open = append(open, c); mu.Unlock() }
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			keep(in)
			out, err := net.Dial("tcp", target)
			if err != nil {
				return
			}
			keep(out)
			n := r.conns.Add(1)
			wg.Go(func() { r.pass(n, in, out, r.cuts) })
			wg.Go(func() { r.pass(n, out, in, func() bool { return false }) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return r
}

func (r *relay) silence() { r.silent.Store(r.conns.Load()) }

// cutAfter cuts the next connection whose client sends anything, once n chunks
// of it have passed.
func (r *relay) cutAfter(n int64) { r.left.Store(n + 1) }

// cuts says whether the chunk that a client has sent is one too many.
func (r *relay) cuts() bool { return r.left.Load() > 0 && r.left.Add(-1) == 0 }

func (r *relay) pass(number int64, from, to net.Conn, cuts func() bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err == nil && cuts() {
			_ = from.Close()
			err = io.EOF
		}
		if err != nil {
			if number > r.silent.Load() {
				_ = to.Close()
			}
			return
		}
		if number > r.silent.Load() {
			_, _ = to.Write(buf[:n])
		}
	}
}
