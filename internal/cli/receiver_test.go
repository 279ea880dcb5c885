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

// receiver is what webhooks of a script are sent to. The path says how it answers:
// /ok takes everything, /fail nothing, /gone is gone, /bot refuses inside an
// answer of 200.
type receiver struct {
	mu   sync.Mutex
	seen []string
	came chan struct{}
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
	r.seen = append(r.seen, b.String())
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
	case r.came <- struct{}{}:
	default:
	}
}

// text waits for n requests and returns all that came.
func (r *receiver) text(n int) (string, bool) {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		r.mu.Lock()
		seen, text := len(r.seen), strings.Join(r.seen, "\n")
		r.mu.Unlock()
		if seen >= n {
			return text, true
		}
		select {
		case <-r.came:
		case <-deadline.C:
			return text, false
		}
	}
}

// receivers are those of one script.
type receivers struct{ byName map[string]*receiver }

type receiversKey struct{}

// receive NAME starts a receiver; $NAME is its address.
// receive NAME N FILE waits until it got N requests and writes them to FILE.
func receive(ts *testscript.TestScript, neg bool, args []string) {
	all, ok := ts.Value(receiversKey{}).(*receivers)
	if neg || !ok || len(args) != 1 && len(args) != 3 {
		ts.Fatalf("usage: receive NAME [N FILE]")
	}
	name := args[0]
	if len(args) == 1 {
		r := &receiver{came: make(chan struct{}, 1)}
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
	text, came := r.text(n)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(text), 0o600))
	if !came {
		ts.Fatalf("fewer than %d requests came:\n%s", n, text)
	}
}
