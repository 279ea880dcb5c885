package api_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/api"
)

// growth is a body whose unknown fields made the path of each fault longer than that of
// the one before, in a validator that looked for the last dot of a name.
func growth(size int) string {
	var b strings.Builder
	b.WriteString(`{"name":"k"`)
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, `,"%x.%x":1`, i, i)
	}
	return b.String() + "}"
}

// TestManyFaultsCostLittle sends bodies with as many faults as fit, which cost minutes
// of CPU and gigabytes of memory when every fault was collected with its path.
func TestManyFaultsCostLittle(t *testing.T) {
	w := newEnv(t)
	list := strings.Repeat(`1,`, 200_000) + "1"
	for name, a := range map[string]struct{ who, method, path, body string }{
		"names with dots": {viewer, "POST", "/api/v1/keys", growth(1 << 20)},
		"unknown fields":  {viewer, "POST", "/api/v1/keys", manyKeys(100_000)},
		"wrong items":     {operator, "POST", "/api/v1/jobs/cancel", `{"ids":[` + list + `]}`},
		"a huge list":     {operator, "POST", "/api/v1/jobs", `{"action":"noop","assets":[` + list + `]}`},
		"a façade":        {operator, "POST", "/device/bulk", `{"devices":[` + strings.Repeat(`{"x.y":1},`, 100_000) + `{}]}`},
		"many values":     {operator, "POST", "/api/v1/jobs", `{"action":"noop","args":{"x":[` + strings.Repeat(`0,`, 3<<20) + `0]}}`},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			r := w.do(t, a.who, a.method, a.path, a.body)
			took := time.Since(began)
			runtime.ReadMemStats(&after)
			if r.Status < 400 || r.Status >= 500 {
				t.Errorf("answered %d", r.Status)
			}
			if took > 15*time.Second {
				t.Errorf("took %v", took)
			}
			if made := (after.TotalAlloc - before.TotalAlloc) >> 20; made > 300 {
				t.Errorf("allocated %d MB", made)
			}
			if len(r.Body) > 64<<10 {
				t.Errorf("the answer has %d bytes", len(r.Body))
			}
		})
	}
}

// dial opens a connection and writes what a slow client sends of its request.
func dial(t *testing.T, w *env, request string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", w.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestRefusalEndsTheConnection sends bodies that never end to routes that do not read
// them. The server must answer and close: it read on for as long as the client sent.
func TestRefusalEndsTheConnection(t *testing.T) {
	w := newEnv(t)
	const half = "Host: h\r\nContent-Type: application/json\r\nContent-Length: 200000\r\n\r\n{\"name\":"
	for name, tt := range map[string]struct {
		request string
		status  int
	}{
		"no key":          {"POST /api/v1/keys HTTP/1.1\r\n" + half, 401},
		"no such path":    {"POST /nothing HTTP/1.1\r\n" + half, 404},
		"wrong method":    {"POST /livez HTTP/1.1\r\n" + half, 405},
		"a probe":         {"GET /livez HTTP/1.1\r\n" + half, 200},
		"a public route":  {"GET /api/v1/version HTTP/1.1\r\n" + half, 422},
		"no body belongs": {"GET /api/v1/jobs HTTP/1.1\r\nX-API-KEY: " + w.keys[viewer] + "\r\n" + half, 422},
		"not allowed":     {"POST /api/v1/jobs HTTP/1.1\r\nX-API-KEY: " + w.keys[viewer] + "\r\n" + half, 403},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, w, tt.request)
			in := bufio.NewReader(c)
			r, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, r.Body)
			_ = r.Body.Close()
			if r.StatusCode != tt.status || !r.Close {
				t.Errorf("answered %d, Connection: close %v; want %d and true", r.StatusCode, r.Close, tt.status)
			}
			if _, err := in.ReadByte(); err != io.EOF {
				t.Errorf("the connection is not closed: %v", err)
			}
		})
	}
}

// TestNoBodyIsReadWhereNoneBelongs sends bodies without a key to a route that takes
// none, each almost as large as a body may be. They were kept in memory while their
// clients sent nothing more.
func TestNoBodyIsReadWhereNoneBelongs(t *testing.T) {
	w := newEnv(t)
	part := strings.Repeat(" ", 7<<20)
	for range 20 {
		c := dial(t, w, "GET /api/v1/version HTTP/1.1\r\nHost: h\r\nContent-Length: 8000000\r\n\r\n")
		_, _ = io.WriteString(c, part) // the server may have closed it
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 100<<20 {
		t.Errorf("%d MB are in memory", m.HeapAlloc>>20)
	}
}

// TestTransferEncodingEndsTheConnection smuggles a second request behind one with two
// lengths.
func TestTransferEncodingEndsTheConnection(t *testing.T) {
	w := newEnv(t)
	c := dial(t, w, "POST /api/v1/keys HTTP/1.1\r\nHost: h\r\nX-API-KEY: "+w.keys[viewer]+
		"\r\nContent-Type: application/json\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"+
		"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n")
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), "HTTP/1.1 "); n != 1 || !strings.Contains(string(b), "Connection: close") {
		t.Errorf("%d answers:\n%s", n, b)
	}
}

// TestSlowClientsKeepNobodyOut opens more connections than the server accepts, in every
// state in which a client can be slow. Another client is answered at once, and the
// limit is logged.
func TestSlowClientsKeepNobodyOut(t *testing.T) {
	w := newEnv(t)
	w.Close()
	s, _ := w.server(t)
	w.Server = s
	for i := range 1200 {
		slow := []string{
			"", "GET /livez HT",
			"POST /api/v1/keys HTTP/1.1\r\nHost: h\r\nX-API-KEY: " + w.keys[viewer] +
				"\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{",
		}[i%3]
		c, err := net.Dial("tcp", w.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_, _ = io.WriteString(c, slow) // it may have been closed
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	for range 20 {
		r, err := client.Get(w.URL + "/livez")
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		if r.StatusCode != http.StatusOK {
			t.Errorf("answered %d", r.StatusCode)
		}
	}
	if n := strings.Count(w.log.String(), "a limit of connections was reached"); n == 0 || n > 10 {
		t.Errorf("the limit was logged %d times", n)
	}
}

// TestBodiesInMemoryAreBounded holds large bodies open, and finds the limit of one user
// before that of the server: others still send theirs.
func TestBodiesInMemoryAreBounded(t *testing.T) {
	w := newEnv(t)
	large := strings.Repeat(" ", 7<<20)
	for range 6 {
		dial(t, w, "POST /api/v1/keys HTTP/1.1\r\nHost: h\r\nX-API-KEY: "+w.keys[viewer]+
			"\r\nContent-Type: application/json\r\nContent-Length: 8000000\r\n\r\n"+large)
	}
	refused := waitFor(t, func() bool { return strings.Contains(w.log.String(), "request bodies in memory reached a limit") })
	if !refused {
		t.Error("42 MB of one user's bodies are in memory")
	}
	if r := w.do(t, operator, "POST", "/api/v1/keys", `{"name":"k"}`+strings.Repeat(" ", 1<<20)); r.Status != http.StatusCreated {
		t.Errorf("another user is refused: %d %s", r.Status, r.Body)
	}
}

// waitFor waits until the condition holds, for at most some seconds.
func waitFor(t *testing.T, holds func() bool) bool {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); <-time.After(10 * time.Millisecond) {
		if holds() {
			return true
		}
	}
	return false
}

// TestListsAreBoundedInBytes lists jobs with large args: every page is small, and all
// pages together lose and repeat nothing.
func TestListsAreBoundedInBytes(t *testing.T) {
	w := newEnv(t)
	big := strings.Repeat("x", 500<<10)
	const n = 40
	for range n {
		w.mustDo(t, operator, "POST", "/api/v1/jobs", `{"action":"noop","args":{"say":"`+big+`"}}`, nil)
	}
	for name, path := range map[string]string{"native": "/api/v1/jobs?limit=1000", "NetPulse": "/job?limit=1000"} {
		r := w.do(t, viewer, "GET", path, "")
		if r.Status != http.StatusOK || len(r.Body) > 10<<20 {
			t.Errorf("%s: %d with %d MB", name, r.Status, len(r.Body)>>20)
		}
	}
	c, err := client.New(w.URL, w.keys[viewer])
	if err != nil {
		t.Fatal(err)
	}
	seen := map[hostler.JobID]bool{}
	for p := (hostler.Page{Limit: 1000}); ; {
		l, err := c.Jobs(t.Context(), hostler.JobFilter{}, p)
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range l.Items {
			seen[j.ID] = true
		}
		if p.Cursor = l.Next; l.Next == "" {
			break
		}
	}
	if len(seen) != n {
		t.Errorf("%d jobs on all pages, want %d", len(seen), n)
	}
}

// TestAssetsOfOldClients reads the list of the simple task API without and with pages.
func TestAssetsOfOldClients(t *testing.T) {
	w := newEnv(t)
	var csv strings.Builder
	csv.WriteString("name,address,var.large\n")
	large := strings.Repeat("x", 4000)
	const n = 1200
	for i := range n {
		fmt.Fprintf(&csv, "h%04d,10.1.%d.%d,%s\n", i, i/250, i%250+1, large)
	}
	req := w.request(t, operator, "POST", "/api/v1/assets/import", csv.String())
	req.Header.Set("Content-Type", "text/csv")
	if r := w.send(t, req); r.Status != http.StatusOK {
		t.Fatalf("%d %s", r.Status, r.Body)
	}
	var all []struct{ Name string }
	w.mustDo(t, viewer, "GET", "/assets", "", &all)
	if len(all) != n || all[0].Name != "h0000" || all[n-1].Name != "h1199" {
		t.Errorf("%d assets, want %d", len(all), n)
	}
	var page []struct{ Name string }
	r := w.do(t, viewer, "GET", "/assets?limit=500", "")
	if err := json.Unmarshal([]byte(r.Body), &page); err != nil || len(page) != 500 {
		t.Errorf("a page of %d, %v", len(page), err)
	}
	link := r.Header.Get("Link")
	next, _, ok := strings.Cut(strings.TrimPrefix(link, "<"), ">")
	if !ok {
		t.Fatalf("Link: %q", link)
	}
	w.mustDo(t, viewer, "GET", next, "", &page)
	if len(page) != 500 || page[0].Name != "h0500" {
		t.Errorf("the next page has %d assets from %v", len(page), page[:1])
	}
}

// TestHeavyListsKeepNobodyWaiting holds all shares of one user with clients that do not
// read, and reads as another one.
func TestHeavyListsKeepNobodyWaiting(t *testing.T) {
	w := newEnv(t)
	big := strings.Repeat("x", 900<<10)
	var made hostler.JobsCreated
	for range 8 {
		w.mustDo(t, operator, "POST", "/api/v1/jobs", `{"action":"noop","args":{"say":"`+big+`"}}`, &made)
	}
	for range 40 {
		dial(t, w, "GET /api/v1/jobs?limit=1000 HTTP/1.1\r\nHost: h\r\nX-API-KEY: "+w.keys[viewer]+"\r\n\r\n")
	}
	var slowest time.Duration
	for range 20 {
		for _, path := range []string{"/api/v1/jobs/" + made.Job.ID.String(), "/readyz", "/api/v1/me", "/api/v1/queues"} {
			began := time.Now()
			if r := w.do(t, operator, "GET", path, ""); r.Status != http.StatusOK {
				t.Fatalf("%s: %d", path, r.Status)
			}
			slowest = max(slowest, time.Since(began))
		}
	}
	if slowest > 8*time.Second {
		t.Errorf("the slowest read of another user took %v", slowest)
	}
}

func TestTLSIsDemandedAgain(t *testing.T) {
	for name, want := range map[string]string{"TLS": "max-age=31536000", "clear text": ""} {
		w := newEnv(t, func(c *api.Config) { c.TLS = name == "TLS" })
		r := w.do(t, nobody, "GET", "/livez", "")
		if got := r.Header.Get("Strict-Transport-Security"); got != want {
			t.Errorf("%s: Strict-Transport-Security %q, want %q", name, got, want)
		}
	}
}
