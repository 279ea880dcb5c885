package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
)

// fake is a server that answers request n with handlers[n], the last one for
// ever, and remembers what it was asked.
type fake struct {
	mu       sync.Mutex
	seen     []*http.Request
	bodies   []string
	handlers []http.HandlerFunc
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	n := min(len(f.seen), len(f.handlers)-1)
	f.seen = append(f.seen, r)
	f.bodies = append(f.bodies, string(body))
	f.mu.Unlock()
	f.handlers[n](w, r)
}

func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.seen)
}

// newFake starts a fake and a client of it whose pauses are only noted.
func newFake(t *testing.T, handlers ...http.HandlerFunc) (*fake, *Client, *[]time.Duration) {
	t.Helper()
	f := &fake{handlers: handlers}
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	c, err := New(srv.URL, "hst_test", WithUserAgent("test"))
	if err != nil {
		t.Fatal(err)
	}
	var pauses []time.Duration
	c.pause = func(ctx context.Context, d time.Duration) error {
		pauses = append(pauses, d)
		return ctx.Err()
	}
	return f, c, &pauses
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func unavailable(retryAfter string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", retryAfter)
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, `{"code":"unavailable","status":503,"text":{"en":"the store is away","zh":"存储不可用"}}`)
	}
}

func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

const (
	jobText = "job_00000000001"
	created = `{"run":"run_00000000001","count":1,"jobs":["` + jobText + `"]}`
)

func TestCreateJobsRepeatsWithOneIdempotencyKey(t *testing.T) {
	f, c, pauses := newFake(t, unavailable("3"), hangUp, answer(201, created))
	got, err := c.CreateJobs(t.Context(), hostler.JobRequest{Action: "check_port"}, CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := hostler.JobsCreated{Run: 1, Count: 1, Jobs: []hostler.JobID{1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("CreateJobs (-want +got):\n%s", diff)
	}
	keys := map[string]bool{}
	for _, r := range f.seen {
		keys[r.Header.Get("Idempotency-Key")] = true
	}
	if len(f.seen) != 3 || len(keys) != 1 || keys[""] {
		t.Errorf("%d requests with the keys %v; want 3 with one key", len(f.seen), keys)
	}
	if (*pauses)[0] < 3*time.Second {
		t.Errorf("paused %v; Retry-After asked for 3 s", (*pauses)[0])
	}
}

func TestRepeatsAreBounded(t *testing.T) {
	f, c, _ := newFake(t, unavailable("1"))
	_, err := c.Job(t.Context(), 1)
	if hostler.CodeOf(err) != hostler.CodeUnavailable || f.count() != 1+defaultRetries {
		t.Errorf("got %v after %d requests; want unavailable after %d", err, f.count(), 1+defaultRetries)
	}
}

func TestUnsafeRequestsAreNotRepeated(t *testing.T) {
	f, c, _ := newFake(t, hangUp)
	_, err := c.RotateKey(t.Context(), 1)
	if hostler.CodeOf(err) != hostler.CodeUnavailable || f.count() != 1 {
		t.Errorf("got %v after %d requests; want unavailable after 1", err, f.count())
	}
}

func TestNothingListensIsRepeatedAndSaysWhere(t *testing.T) {
	_, c, pauses := newFake(t, hangUp)
	c.base.Host = "127.0.0.1:1"
	_, err := c.RotateKey(t.Context(), 1)
	if hostler.CodeOf(err) != hostler.CodeUnavailable || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("got %v", err)
	}
	if len(*pauses) != defaultRetries {
		t.Errorf("%d pauses, want %d: nothing was sent, so any request may be repeated", len(*pauses), defaultRetries)
	}
}

func TestProblem(t *testing.T) {
	tests := map[string]struct {
		status int
		body   string
		want   hostler.Error
	}{
		"fields": {
			422,
			`{"code":"invalid","text":{"en":"no","zh":"否"},"fields":[{"path":"args.port","text":{"en":"too big","zh":"太大"}}]}`,
			hostler.Error{
				Code: hostler.CodeInvalid, Text: hostler.Text{EN: "no", ZH: "否"},
				Fields: []hostler.FieldError{{Path: "args.port", Text: hostler.Text{EN: "too big", ZH: "太大"}}},
			},
		},
		"one language": {
			404, `{"code":"not_found","title":"Not Found","detail":"gone"}`,
			hostler.Error{Code: hostler.CodeNotFound, Text: hostler.Text{EN: "gone", ZH: "gone"}},
		},
		"not Hostler": {
			403, `<html>proxy</html>`,
			hostler.Error{Code: hostler.CodeForbidden, Text: hostler.Text{
				EN: "the answer (403 Forbidden) is not Hostler's; check the address, and the proxy if there is one",
				ZH: "收到的响应（403 Forbidden）不是来自 Hostler；请检查地址以及代理（如有）",
			}},
		},
		"redirect": {
			302, ``,
			hostler.Error{Code: hostler.CodeInternal, Text: hostler.Text{
				EN: "the answer (302 Found) is not Hostler's; check the address, and the proxy if there is one",
				ZH: "收到的响应（302 Found）不是来自 Hostler；请检查地址以及代理（如有）",
			}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, c, _ := newFake(t, answer(tt.status, tt.body))
			_, err := c.Me(t.Context())
			var got *hostler.Error
			if !errors.As(err, &got) {
				t.Fatalf("%v is no *hostler.Error", err)
			}
			got.Cause = nil
			if diff := cmp.Diff(tt.want, *got); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRequestForm(t *testing.T) {
	f, c, _ := newFake(t, answer(200, `{}`))
	c.project, c.lang = "lab", hostler.LangZH
	if _, err := c.Asset(t.Context(), "a/b 路"); err != nil {
		t.Fatal(err)
	}
	r := f.seen[0]
	got := []string{
		r.URL.EscapedPath(), r.Header.Get("Authorization"), r.Header.Get("X-Project"),
		r.Header.Get("Accept-Language"), r.Header.Get("User-Agent"),
	}
	want := []string{"/api/v1/assets/a%2Fb%20%E8%B7%AF", "Bearer hst_test", "lab", "zh", "test"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	for _, bad := range []string{"", ".", ".."} {
		if _, err := c.Asset(t.Context(), bad); hostler.CodeOf(err) != hostler.CodeInvalid {
			t.Errorf("Asset(%q) = %v, want invalid", bad, err)
		}
	}
}

func TestFilterQuery(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	f := hostler.JobFilter{
		States: []hostler.State{hostler.StateQueued, hostler.StateUnknown},
		Queue:  "q", Action: "a", Asset: "h", Lane: "l", Run: 1, Since: &at,
	}
	got := filterQuery(f, hostler.Page{Cursor: "c", Limit: 7}).Encode()
	want := "action=a&asset=h&cursor=c&lane=l&limit=7&queue=q&run=run_00000000001&since=2026-01-02T03%3A04%3A05.000006Z&states=queued%2Cunknown"
	if got != want {
		t.Errorf("filterQuery\n got %s\nwant %s", got, want)
	}
}

func TestAllWalksThePages(t *testing.T) {
	f, c, _ := newFake(t,
		answer(200, `{"items":[{"name":"a"},{"name":"b"}],"next":"2"}`),
		answer(200, `{"items":[{"name":"c"}]}`))
	var got []string
	for a, err := range All(t.Context(), c.Assets) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, a.Name)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if q := f.seen[1].URL.Query().Get("cursor"); q != "2" {
		t.Errorf("second page asked for cursor %q", q)
	}
}

// logStream answers like the follow route: entries from..to, then the end or a
// broken connection.
func logStream(from, to int64, end bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, ": hello\n\n")
		for pos := from; pos <= to; pos++ {
			data, _ := json.Marshal(hostler.LogEntry{Pos: pos, LogLine: hostler.LogLine{Text: fmt.Sprint(pos)}})
			fmt.Fprintf(w, "id: %d\nevent: line\ndata: %s\n\n", pos, data)
		}
		if end {
			io.WriteString(w, "event: end\ndata: {\"id\":\""+jobText+"\",\"state\":\"succeeded\"}\n\n")
		}
		http.NewResponseController(w).Flush()
		if !end {
			panic(http.ErrAbortHandler)
		}
	}
}

func TestFollowResumesWhereItBroke(t *testing.T) {
	f, c, _ := newFake(t, logStream(1, 2, false), unavailable("1"), logStream(2, 4, true))
	var got []string
	var last *hostler.Job
	for step, err := range c.Follow(t.Context(), 1, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if last = step.Job; last == nil {
			got = append(got, step.Entry.Text)
		}
	}
	if diff := cmp.Diff([]string{"1", "2", "3", "4"}, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	if last == nil || last.State != hostler.StateSucceeded {
		t.Errorf("last step %+v, want the ended job", last)
	}
	var ids []string
	for _, r := range f.seen {
		ids = append(ids, r.Header.Get("Last-Event-ID"))
	}
	if diff := cmp.Diff([]string{"0", "2", "2"}, ids); diff != "" {
		t.Errorf("Last-Event-ID (-want +got):\n%s", diff)
	}
}

func TestFollowGivesUp(t *testing.T) {
	f, c, _ := newFake(t, logStream(1, 0, false))
	var errs []error
	for _, err := range c.Follow(t.Context(), 1, 0) {
		errs = append(errs, err)
	}
	if len(errs) != 1 || hostler.CodeOf(errs[0]) != hostler.CodeUnavailable || f.count() != 1+defaultRetries {
		t.Errorf("got %v after %d requests", errs, f.count())
	}
}

// A stream of events survives a long outage and misses no event: the server sends the
// position before the first event.
func TestEventsSurviveAnOutage(t *testing.T) {
	outage := 3 * defaultRetries
	handlers := []http.HandlerFunc{answer(200, "retry: 1000\nid: 7\n\n")}
	for range outage {
		handlers = append(handlers, unavailable(""))
	}
	handlers = append(handlers, answer(200, "id: 8\nevent: job.queued\ndata: {\"pos\":8,\"type\":\"job.queued\"}\n\n"))
	f, c, _ := newFake(t, handlers...)
	var reported []hostler.Code
	WithOutage(func(err error) {
		if err == nil {
			reported = append(reported, "back")
			return
		}
		reported = append(reported, hostler.CodeOf(err))
	})(c)
	for s, err := range c.Events(t.Context(), hostler.EventFilter{}, EventsFromNow) {
		if err != nil || s.Event.Pos != 8 {
			t.Errorf("got event %d, %v", s.Event.Pos, err)
		}
		break
	}
	if f.count() != outage+2 {
		t.Fatalf("%d requests, want %d", f.count(), outage+2)
	}
	if diff := cmp.Diff([]hostler.Code{hostler.CodeUnavailable, "back"}, reported); diff != "" {
		t.Errorf("outages (-want +got):\n%s", diff)
	}
	for i, want := range map[int]string{0: "", 1: "7", outage + 1: "7"} {
		if got := f.seen[i].Header.Get("Last-Event-Id"); got != want {
			t.Errorf("request %d resumes after %q, want %q", i, got, want)
		}
	}
}

// A stream that breaks and is resumed immediately is not an outage, nor is a refusal.
func TestNoOutage(t *testing.T) {
	cut := answer(200, "retry: 1000\nid: 7\n\n")
	_, c, _ := newFake(t, cut, cut, answer(401, `{"code":"unauthenticated","detail":"revoked"}`))
	WithOutage(func(err error) { t.Errorf("an outage is reported: %v", err) })(c)
	for _, err := range c.Events(t.Context(), hostler.EventFilter{}, EventsFromNow) {
		if hostler.CodeOf(err) != hostler.CodeUnauthenticated {
			t.Errorf("got %v, want unauthenticated", err)
		}
	}
}

// A stream whose first connection fails ends.
func TestEventsOfNoServer(t *testing.T) {
	f, c, _ := newFake(t, unavailable(""))
	for _, err := range c.Events(t.Context(), hostler.EventFilter{}, EventsFromNow) {
		if hostler.CodeOf(err) != hostler.CodeUnavailable {
			t.Errorf("got %v, want unavailable", err)
		}
	}
	if f.count() != 1+defaultRetries {
		t.Errorf("%d requests, want %d", f.count(), 1+defaultRetries)
	}
}

func TestFollowStopsAtOnceOnRefusal(t *testing.T) {
	f, c, _ := newFake(t, answer(404, `{"code":"not_found","detail":"no such job"}`))
	for _, err := range c.Follow(t.Context(), 1, 0) {
		if hostler.CodeOf(err) != hostler.CodeNotFound {
			t.Errorf("got %v, want not_found", err)
		}
	}
	if f.count() != 1 {
		t.Errorf("%d requests, want 1", f.count())
	}
}

func TestFollowUnderstandsAnErrorInTheStream(t *testing.T) {
	refused := "event: error\ndata: {\"code\":\"unauthenticated\",\"text\":{\"en\":\"revoked\",\"zh\":\"已吊销\"}}\n\n"
	_, c, _ := newFake(t, answer(200, refused))
	for _, err := range c.Follow(t.Context(), 1, 0) {
		if hostler.CodeOf(err) != hostler.CodeUnauthenticated {
			t.Errorf("got %v, want unauthenticated", err)
		}
	}
}

func TestAssetsWithLabels(t *testing.T) {
	f, c, _ := newFake(t, answer(200, `{"items":[]}`))
	if _, err := c.AssetsWith(map[string]string{"role": "web"})(t.Context(), hostler.Page{}); err != nil {
		t.Fatal(err)
	}
	if got := f.seen[0].URL.RawQuery; got != "label=role%3Dweb" {
		t.Errorf("query %q", got)
	}
}

func TestCallerCanStopFollowing(t *testing.T) {
	_, c, _ := newFake(t, logStream(1, 9, true))
	n := 0
	for range c.Follow(t.Context(), 1, 0) {
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("%d steps after break at 2", n)
	}
}

func TestNewRefusesBadAddresses(t *testing.T) {
	for _, bad := range []string{"", "127.0.0.1:9000", "ftp://x", "http://", "http://a b"} {
		if _, err := New(bad, ""); hostler.CodeOf(err) != hostler.CodeInvalid {
			t.Errorf("New(%q) = %v, want invalid", bad, err)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	in := hostler.CredentialInput{Name: "n", Kind: "password", Password: "canary"}
	for _, s := range []string{fmt.Sprint(in), fmt.Sprintf("%+v", in), fmt.Sprintf("%#v", in), fmt.Sprint(&in)} {
		if strings.Contains(s, "canary") {
			t.Errorf("the secret is in %q", s)
		}
	}
}

// A full disk is not a server that cannot be reached.
func TestExportTellsWhoFailed(t *testing.T) {
	_, c, _ := newFake(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "name\n") },
		func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			_, _ = io.WriteString(w, "name\n")
			panic(http.ErrAbortHandler)
		})
	full := errors.New("disk full")
	if err := c.ExportAssets(t.Context(), nil, failingWriter{full}); !errors.Is(err, full) || hostler.CodeOf(err) == hostler.CodeUnavailable {
		t.Errorf("a full disk: %v", err)
	}
	if err := c.ExportAssets(t.Context(), nil, io.Discard); hostler.CodeOf(err) != hostler.CodeUnavailable {
		t.Errorf("a cut answer: %v", err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }
