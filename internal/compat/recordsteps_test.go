//go:build record

package compat

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hostler.dev/hostler"
)

// recorded are the headers of a request that are recorded.
var recorded = []string{"Accept", "Content-Type", "Idempotency-Key", "Last-Event-Id", "X-Project"}

func TestRecordSteps(t *testing.T) {
	s := onFolder(t, *oldBinary)
	p := newRecordingProxy(t, s)
	vars := s.variables(t)
	p.vars["WORKER"] = vars["WORKER"]
	var out []step
	for _, st := range commands() {
		if st.Args != nil {
			stdout, stderr, code := s.command(t, *oldBinary, p.url, st, vars)
			st.Code = code
			if v, ok := parse(stdout); ok && st.Args[len(st.Args)-1] == "json" {
				st.Output = shapeOf(v)
			}
			t.Logf("%d hostler %s: %.150s", code, strings.Join(st.Args, " "), strings.TrimSpace(string(stderr)))
		} else {
			e := st.Exchanges[0]
			fill := func(text string) string {
				return os.Expand(text, func(name string) string { return vars[name] })
			}
			direct := *s
			direct.url = p.url
			a := direct.send(e.Method, fill(e.Path), fill(e.Body))
			t.Logf("%d %s %s: %.150s", a.status, e.Method, e.Path, a.body)
		}
		st.Exchanges = p.take()
		out = append(out, st)
	}
	used := map[string]bool{}
	for i := range out {
		for _, e := range out[i].Exchanges {
			os.Expand(e.Path+e.Body, func(name string) string { used[name] = true; return "" })
		}
	}
	for _, st := range out {
		for _, e := range st.Exchanges {
			for name := range e.Ids {
				if !used[name] {
					delete(e.Ids, name)
				}
			}
		}
	}
	writeGzip(t, filepath.Join("testdata", "exchanges.json.gz"), out)
	var doc any
	if err := json.Unmarshal(s.send(http.MethodGet, "/api/v1/openapi.json", "").body, &doc); err != nil {
		t.Fatal(err)
	}
	writeGzip(t, filepath.Join("testdata", "openapi.json.gz"), structure(doc))
}

// recordingProxy notes each request that passes and the form of its answer.
type recordingProxy struct {
	url   string
	since string // digits of the first id that is made while recording

	mu   sync.Mutex
	seen []*exchange
	vars map[string]string
}

func newRecordingProxy(t *testing.T, s *server) *recordingProxy {
	var sc scene
	readJSON(t, filepath.Join("testdata", "sqlite", "scene.json"), &sc)
	at, err := time.Parse(time.RFC3339, sc.Recorded)
	if err != nil {
		t.Fatal(err)
	}
	p := &recordingProxy{since: hostler.JobID(hostler.MakeID(at.Unix()+1, 0)).String()[4:], vars: map[string]string{}}
	target, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.FlushInterval = -1
	proxy.ModifyResponse = p.note
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.Header.Del("Accept-Encoding")
		e := &exchange{Method: r.Method, Path: p.masked(r.URL.RequestURI()), Body: p.masked(string(body)), Header: map[string]string{}}
		for _, k := range recorded {
			if v := r.Header.Get(k); v != "" {
				e.Header[k] = v
			}
		}
		p.mu.Lock()
		p.seen = append(p.seen, e)
		n := len(p.seen) - 1
		p.mu.Unlock()
		r.Header.Set("X-Recorded", strconv.Itoa(n))
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	p.url = srv.URL
	return p
}

// masked replaces the ids that are created while recording by variables.
func (p *recordingProxy) masked(text string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, id := range p.vars {
		text = strings.ReplaceAll(text, id, "${"+name+"}")
	}
	return text
}

func (p *recordingProxy) note(res *http.Response) error {
	n, err := strconv.Atoi(res.Request.Header.Get("X-Recorded"))
	if err != nil {
		return err
	}
	p.mu.Lock()
	e := p.seen[n]
	p.mu.Unlock()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	e.Status, e.Type = res.StatusCode, res.Header.Get("Content-Type")
	e.Shape, e.Events = form(answer{res.StatusCode, res.Header, body})
	v, ok := parse(body)
	if !ok {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	known := map[string]bool{}
	for _, id := range p.vars {
		known[id] = true
	}
	e.Ids = map[string]string{}
	ids("", v, func(pointer, id string) {
		if id[4:] >= p.since && !known[id] {
			known[id] = true
			name := strconv.Itoa(len(p.vars))
			p.vars[name], e.Ids[name] = id, pointer
		}
	})
	return nil
}

// take returns the exchanges since the last call.
func (p *recordingProxy) take() []exchange {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []exchange
	for _, e := range p.seen {
		out = append(out, *e)
	}
	p.seen = nil
	return out
}

// structure is an OpenAPI document, or a part of one, without its texts.
func structure(v any) any {
	switch x := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, f := range x {
			_, isText := f.(string)
			if isText && (k == "description" || k == "title" || k == "summary") || k == "examples" || k == "example" || strings.HasPrefix(k, "x-") {
				continue
			}
			out[k] = structure(f)
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i := range x {
			out[i] = structure(x[i])
		}
		return out
	}
	return v
}
