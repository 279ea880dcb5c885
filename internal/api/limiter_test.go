package api_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api"
)

// Streams of a kind are bounded, and one user, with whatever keys, has at most half
// of them.
func TestStreamsAreBounded(t *testing.T) {
	w := newEnv(t, func(c *api.Config) { c.Followers, c.Listeners = 3, 3 })
	var second hostler.KeyCreated
	w.mustDo(t, viewer, "POST", "/api/v1/keys", `{"name":"second"}`, &second)
	w.keys["viewer's second key"] = second.Secret
	log := "/api/v1/jobs/" + w.makeJob(t, operator).ID.String() + "/log"
	for kind, of := range map[string]struct{ stream, page string }{
		"streams of output": {log + "?follow=1", log},
		"streams of events": {"/api/v1/events", "/api/v1/events?format=json"},
	} {
		t.Run(kind, func(t *testing.T) {
			open := func(as string) (status int, end func()) {
				ctx, cancel := context.WithCancel(t.Context())
				t.Cleanup(cancel)
				res, err := w.Client().Do(w.request(t, as, "GET", of.stream, "").WithContext(ctx))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { res.Body.Close() })
				return res.StatusCode, cancel
			}
			refused := func(as, en, zh string) {
				t.Helper()
				a := w.do(t, as, "GET", of.stream, "")
				text := a.problem(t).Text
				if a.Status != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" ||
					!strings.Contains(text.EN, en) || !strings.Contains(text.EN, kind) || !strings.Contains(text.ZH, zh) {
					t.Errorf("another of %s: %d %s; want 429 with %q, %q", as, a.Status, a.Body, en, zh)
				}
			}
			var ends []func()
			for _, as := range []string{viewer, "viewer's second key", operator} {
				status, end := open(as)
				if status != http.StatusOK {
					t.Fatalf("a stream of %s: %d", as, status)
				}
				ends = append(ends, end)
				if len(ends) == 2 {
					refused(viewer, "your keys have 2 ", "您的密钥已打开 2 个")
				}
			}
			refused("viewer's second key", "no more than half", "一半")
			refused(admin, "offers 3 ", "最多同时提供 3 个")
			if a := w.do(t, viewer, "GET", of.page, ""); a.Status != http.StatusOK {
				t.Errorf("a page meanwhile: %d %s", a.Status, a.Body)
			}
			ends[0]()
			eventually(t, "the first stream is released", func() bool {
				status, end := open("viewer's second key")
				defer end()
				return status == http.StatusOK
			})
		})
	}
}

// TestRequestsLeaveConnections: requests that take long, of whatever kind, leave
// connections to other users, and to probes.
func TestRequestsLeaveConnections(t *testing.T) {
	const connections = 8 // 7 for requests with a key, 4 of them for one user
	w := newEnv(t, func(c *api.Config) { c.Connections = connections })
	w.mustDo(t, admin, "POST", "/api/v1/queues/default/pause", "", nil)
	open := func(as, method, path, body string) func() {
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		go func() {
			res, err := w.Client().Do(w.request(t, as, method, path, body).WithContext(ctx))
			if err == nil {
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
			}
		}()
		return cancel
	}
	refused := func(as string) func() bool {
		return func() bool { return w.do(t, as, "GET", "/api/v1/me", "").Status == http.StatusTooManyRequests }
	}
	var last func()
	for range 2 {
		open(operator, "GET", "/api/v1/events", "")
		last = open(operator, "POST", "/api/v1/jobs?wait=60s", `{"action":"noop"}`)
	}
	eventually(t, "another request of the operator is refused", refused(operator))
	if a := w.do(t, operator, "GET", "/tasks", ""); a.Status != http.StatusTooManyRequests {
		t.Errorf("simple API: %d %s", a.Status, a.Body)
	}
	if a := w.do(t, viewer, "GET", "/api/v1/me", ""); a.Status != http.StatusOK {
		t.Errorf("another user: %d %s", a.Status, a.Body)
	}
	for range 3 {
		open(viewer, "GET", "/api/v1/events", "")
	}
	eventually(t, "any other request is refused", refused(admin))
	if a := w.do(t, "", "GET", "/livez", ""); a.Status != http.StatusOK {
		t.Errorf("/livez: %d %s", a.Status, a.Body)
	}
	last()
	eventually(t, "a request after the end of another", func() bool { return !refused(admin)() })
}
