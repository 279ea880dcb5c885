package compat

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"hostler.dev/hostler/internal/action/netcli/devicetest"
)

// The recorded objects name fixed addresses: each store has its own loopback network,
// and the ports are outside the range from which systems choose ports by themselves.
const (
	receiverPort = "18473"
	devicePort   = "18474"

	deviceUser     = "admin"
	devicePassword = "device-canary-41c7"
	lateSecret     = "whsec_bGF0ZSBzZWNyZXQgb2YgdGhlIHNjZW5lLCAyNCs="
)

// network is the prefix of the loopback addresses of one store's objects.
type network string

const (
	sqliteNet   network = "127.83.41."
	postgresNet network = "127.83.42."
)

func (n network) receiver() string { return net.JoinHostPort(string(n)+"5", receiverPort) }

// receiver is the receiver of the recorded webhooks, and the host with an open port
// of the recorded check_port jobs.
type receiver struct {
	mu     sync.Mutex
	answer func(path string) int // status by path; nil answers 200
	seen   []received
}

// received is one request of a webhook.
type received struct {
	path   string
	query  string
	header http.Header
	body   []byte
}

func newReceiver(t testing.TB, n network) *receiver {
	t.Helper()
	r := &receiver{}
	srv := &http.Server{Handler: r, ReadHeaderTimeout: time.Minute}
	l := listen(t, n.receiver())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	t.Cleanup(func() {
		_ = srv.Shutdown(context.WithoutCancel(t.Context()))
		<-done
	})
	return r
}

// ServeHTTP records the request and answers it.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(io.LimitReader(req.Body, 1<<20))
	if err != nil {
		return
	}
	r.mu.Lock()
	r.seen = append(r.seen, received{req.URL.Path, req.URL.RawQuery, req.Header.Clone(), body})
	answer := r.answer
	r.mu.Unlock()
	status := http.StatusOK
	if answer != nil {
		status = answer(req.URL.Path)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `{"errcode":0,"errmsg":"ok","code":0,"msg":"ok"}`)
}

// requests are the requests to a path so far.
func (r *receiver) requests(path string) []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []received
	for _, q := range r.seen {
		if q.path == path {
			out = append(out, q)
		}
	}
	return out
}

// newDevice runs a network device at the last part of an address. It lets the recorded
// login in, and the owner of the key when there is one.
func newDevice(t testing.TB, n network, last, key string) *devicetest.Device {
	t.Helper()
	l := listen(t, net.JoinHostPort(string(n)+last, devicePort))
	d, err := devicetest.Serve(l, devicetest.Options{Dialect: devicetest.IOSXE, User: deviceUser, Password: devicePassword, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func listen(t testing.TB, addr string) net.Listener {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatalf("the recorded objects need this address: %v", err)
	}
	return l
}
