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
	// cut is the size from which on a client's chunk does not pass any more, and
	// its connection is cut; 0: all pass.
	cut atomic.Int64
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
			wg.Go(func() { r.pass(n, out, in, func(int) bool { return false }) })
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

// cutAt cuts the next connection whose client sends a chunk of at least that many
// bytes. Sizes tell what is sent, also when what a job before sent at its end comes
// late: less than a hundred bytes to open a session, some more to ask for the
// wrapper, and then the program.
func (r *relay) cutAt(size int64) { r.cut.Store(size) }

// cuts says whether the chunk that a client has sent is the one to be cut at.
func (r *relay) cuts(n int) bool {
	size := r.cut.Load()
	return size > 0 && int64(n) >= size && r.cut.CompareAndSwap(size, 0)
}

func (r *relay) pass(number int64, from, to net.Conn, cuts func(n int) bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err == nil && cuts(n) {
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
