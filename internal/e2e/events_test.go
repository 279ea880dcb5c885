package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/store/storetest"
)

// streaming runs many readers of the event streams of two servers on one database, under
// a constant load on both.
type streaming struct {
	tb      testing.TB
	servers [2]*server
	last    atomic.Int64 // position of the last event; 0 until all are created
	mu      sync.Mutex
	waits   []time.Duration // from the change to the reader, of a sample
}

const eventsPerCall = 100

func newStreaming(tb testing.TB) *streaming {
	tb.Helper()
	a := start(tb, tb.TempDir(), storetest.Postgres(tb))
	st := &streaming{tb: tb, servers: [2]*server{a, join(tb, a)}}
	for i := range eventsPerCall {
		_, err := a.client().CreateAsset(tb.Context(), hostler.AssetInput{
			Name: fmt.Sprintf("load-%d", i), Address: "127.0.0.1", Port: 9, Labels: map[string]string{"role": "load"},
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	return st
}

func (s *server) client() *client.Client {
	s.t.Helper()
	c, err := client.New(s.url, s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// run follows both servers with readers while it creates events at a rate for a time. Each
// reader must receive each event once and in order, including those that reconnect.
func (st *streaming) run(readers, perSecond int, span time.Duration) {
	st.tb.Helper()
	ctx, cancel := context.WithTimeout(st.tb.Context(), span+time.Minute)
	defer cancel()
	st.last.Store(0)
	from := st.newest(ctx)
	var reading sync.WaitGroup
	var ready sync.WaitGroup
	ready.Add(readers)
	errs := make([]error, readers)
	for i := range readers {
		r := &reader{st: st, server: i % 2, pos: from, roam: i%10 == 9, ready: ready.Done}
		reading.Go(func() { errs[i] = r.follow(ctx) })
	}
	ready.Wait()
	st.load(ctx, perSecond, span)
	st.last.Store(st.newest(ctx))
	st.load(ctx, eventsPerCall, time.Second) // one more call, after which every reader reaches the end
	reading.Wait()
	for i, err := range errs {
		if err != nil {
			st.tb.Fatalf("reader %d: %v", i, err)
		}
	}
}

// newest waits until all events are published and returns the last position.
func (st *streaming) newest(ctx context.Context) (pos int64) {
	st.tb.Helper()
	for s, err := range st.servers[0].client().StoredEvents(ctx, hostler.EventFilter{}, st.last.Load()) {
		if err != nil {
			st.tb.Fatal(err)
		}
		pos = s.Event.Pos
	}
	return pos
}

// load creates events at a rate, on both servers in turn. Each call creates eventsPerCall
// scheduled jobs.
func (st *streaming) load(ctx context.Context, perSecond int, span time.Duration) {
	st.tb.Helper()
	every := time.Second * eventsPerCall / time.Duration(perSecond)
	tick := time.NewTicker(every)
	defer tick.Stop()
	var calls sync.WaitGroup
	defer calls.Wait()
	for n := range int(span / every) {
		<-tick.C
		c := st.servers[n%2].client()
		calls.Go(func() {
			_, err := c.CreateJobs(ctx, hostler.JobRequest{
				Action: "check_port", Labels: map[string]string{"role": "load"}, Delay: hostler.Duration(time.Hour),
			}, client.CreateOptions{})
			if err != nil {
				st.tb.Error(err)
			}
		})
	}
}

// reader follows the stream and resumes on the other server when it roams.
type reader struct {
	st     *streaming
	server int
	pos    int64
	roam   bool // switches between the servers
	ready  func()
}

func (r *reader) follow(ctx context.Context) error {
	for {
		over, err := r.connect(ctx)
		if err != nil || over {
			return err
		}
		r.server = 1 - r.server
	}
}

// connect reads from one connection until the last event, or until the reader roams.
func (r *reader) connect(ctx context.Context) (over bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := r.st.servers[r.server]
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/api/v1/events", nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("X-API-Key", s.key)
	req.Header.Set("Last-Event-Id", strconv.FormatInt(r.pos, 10))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return false, fmt.Errorf("the stream returned %s", res.Status)
	}
	if r.ready != nil {
		r.ready()
		r.ready = nil
	}
	in := bufio.NewReaderSize(res.Body, 64<<10)
	for seen := 0; ; {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return false, fmt.Errorf("behind %d: %w", r.pos, err)
		}
		switch {
		case bytes.HasPrefix(line, []byte("event: gap")), bytes.HasPrefix(line, []byte("event: error")):
			return false, fmt.Errorf("behind %d: %s", r.pos, line)
		case bytes.HasPrefix(line, []byte("data: ")):
			if err := r.take(line); err != nil {
				return false, err
			}
			if last := r.st.last.Load(); last != 0 && r.pos >= last {
				return true, nil
			}
			if seen++; r.roam && seen == 777 {
				return false, nil
			}
		}
	}
}

// take checks one event: its position follows the last one.
func (r *reader) take(data []byte) error {
	_, rest, _ := bytes.Cut(data, []byte(`"pos":`))
	digits, rest, _ := bytes.Cut(rest, []byte(","))
	pos, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil || pos != r.pos+1 {
		return fmt.Errorf("event %d after %d: %s", pos, r.pos, data)
	}
	r.pos = pos
	if pos%16 != 0 || r.roam {
		return nil // not in the sample, or delayed by its own reconnect
	}
	_, rest, _ = bytes.Cut(rest, []byte(`"at":"`))
	text, _, _ := bytes.Cut(rest, []byte(`"`))
	at, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil {
		return err
	}
	r.st.mu.Lock()
	r.st.waits = append(r.st.waits, time.Since(at))
	r.st.mu.Unlock()
	return nil
}

// Each reader of two servers on one PostgreSQL receives each event once, in the same
// order, also when it switches between the servers.
func TestEventStreamOfTwoServers(t *testing.T) {
	newStreaming(t).run(60, 1000, 4*time.Second)
}

// The output of a job can be followed on a server that does not run it.
func TestFollowAcrossServers(t *testing.T) {
	t.Parallel()
	a := start(t, t.TempDir(), storetest.Postgres(t), "--enable-local-command")
	b := join(t, a, "--slots", "0")
	made, err := a.client().CreateJobs(t.Context(), hostler.JobRequest{
		Action: "local_command", Args: []byte(`{"argv":["sh","-c","echo one; sleep 1; echo two"]}`),
	}, client.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var text string
	var end *hostler.Job
	for step, err := range b.client().Follow(t.Context(), made.Jobs[0], 0) {
		if err != nil {
			t.Fatal(err)
		}
		if end = step.Job; end == nil && step.Entry.Stream == hostler.StreamStdout {
			text += step.Entry.Text
		}
	}
	if text != "one\ntwo\n" || end == nil || end.State != hostler.StateSucceeded {
		t.Errorf("followed %q to %+v", text, end)
	}
}

// BenchmarkEventStream is 200 readers, two servers, 2,000 events a second for a
// minute: go test -run - -bench EventStream -benchtime 1x ./internal/e2e
func BenchmarkEventStream(b *testing.B) {
	st := newStreaming(b)
	for b.Loop() {
		st.run(200, 2000, time.Minute)
	}
	slices.Sort(st.waits)
	at := func(q float64) float64 { return st.waits[int(q*float64(len(st.waits)-1))].Seconds() * 1000 }
	b.ReportMetric(at(0.5), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
	b.ReportMetric(at(1), "max-ms")
	b.ReportMetric(float64(len(st.waits)), "samples")
}
