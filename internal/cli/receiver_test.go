package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// receiver receives the webhooks of a script. The path selects its response: /ok
// accepts, /fail returns an error, /gone returns 410 Gone, and /bot returns an error
// inside a response of 200, as chat bots do.
type receiver struct {
	mu       sync.Mutex
	requests []string
	notify   chan struct{}
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(io.LimitReader(req.Body, 1<<20))
	if err != nil {
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", req.Method, req.URL.RequestURI())
	if err := req.Header.Write(&b); err != nil {
		return
	}
	fmt.Fprintf(&b, "\n%s\n", body)
	r.mu.Lock()
	r.requests = append(r.requests, b.String())
	r.mu.Unlock()
	switch {
	case strings.HasPrefix(req.URL.Path, "/fail"):
		http.Error(w, "not today", http.StatusInternalServerError)
	case strings.HasPrefix(req.URL.Path, "/gone"):
		w.WriteHeader(http.StatusGone)
	case strings.HasPrefix(req.URL.Path, "/bot"):
		_, _ = io.WriteString(w, `{"errcode":310000,"errmsg":"keywords not in content"}`)
	default:
		_, _ = io.WriteString(w, "thanks")
	}
	select {
	case r.notify <- struct{}{}:
	default:
	}
}

// text waits for n requests and returns all requests.
func (r *receiver) text(n int) (string, bool) {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		r.mu.Lock()
		got, text := len(r.requests), strings.Join(r.requests, "\n")
		r.mu.Unlock()
		if got >= n {
			return text, true
		}
		select {
		case <-r.notify:
		case <-deadline.C:
			return text, false
		}
	}
}

// receivers are the receivers of one script, by name.
type receivers struct{ byName map[string]*receiver }

type receiversKey struct{}

// receive NAME starts a receiver; $NAME is its address.
// receive NAME N FILE waits for N requests and writes them to FILE.
func receive(ts *testscript.TestScript, neg bool, args []string) {
	all, ok := ts.Value(receiversKey{}).(*receivers)
	if neg || !ok || len(args) != 1 && len(args) != 3 {
		ts.Fatalf("usage: receive NAME [N FILE]")
	}
	name := args[0]
	if len(args) == 1 {
		r := &receiver{notify: make(chan struct{}, 1)}
		srv := httptest.NewServer(r)
		ts.Defer(srv.Close)
		all.byName[name] = r
		ts.Setenv(name, srv.URL)
		return
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	r := all.byName[name]
	if r == nil {
		ts.Fatalf("there is no receiver %s", name)
	}
	text, ok := r.text(n)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(text), 0o600))
	if !ok {
		ts.Fatalf("fewer than %d requests arrived:\n%s", n, text)
	}
}
