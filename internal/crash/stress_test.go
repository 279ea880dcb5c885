package crash

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/postgres"
	"hostler.dev/hostler/internal/store/sqlite"
	"hostler.dev/hostler/internal/store/storetest"
)

// stressSize is how much a stress run does.
type stressSize struct {
	commands         int
	command          time.Duration // how long each takes
	fanOut, webhooks int
	assets           int // of an import
	readers          int
	frozen           time.Duration
	deliveries       int // of a webhook that is deleted
	// after is how long all of it goes on after the commands, for more heartbeats.
	after time.Duration
}

// stressOf returns the size: STRESS=full is large.
func stressOf() stressSize {
	if os.Getenv("STRESS") == "full" {
		return stressSize{100, time.Minute, 100_000, 10, 10_000, 60, 40 * time.Second, 1_000_000, 2 * time.Minute}
	}
	return stressSize{6, 6 * time.Second, 300, 3, 200, 6, 2 * time.Second, 5_000, 0}
}

func TestStressOnSQLite(t *testing.T) {
	size := stressOf()
	r := newSteppableRig(t, "", stressEnv(size)...)
	s := newStress(t, size, r, func(fn func(st *store.Store)) {
		db, err := sqlite.Open(filepath.Join(r.dir, "hostler.db"), sqlite.Options{Existing: true, Reserve: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		fn(store.New(db, db))
	})
	s.run(s.rig)
}

// TestStressOnPostgres freezes a second server, which runs none of the commands: it may
// hold locks, but it must not stop the first one.
func TestStressOnPostgres(t *testing.T) {
	size := stressOf()
	dsn := storetest.Postgres(t)
	env := append(stressEnv(size), "HOSTLER_MASTER_KEY="+base64.StdEncoding.EncodeToString(make([]byte, 32)))
	s := newStress(t, size, newSteppableRig(t, dsn, env...), func(fn func(st *store.Store)) {
		db, err := postgres.Open(t.Context(), dsn, postgres.Options{Timeout: 10 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		fn(store.New(db, db))
	})
	s.run(newRig(t, dsn, env...))
}

func stressEnv(size stressSize) []string {
	return []string{
		"HOSTLER_EGRESS_ALLOW=127.0.0.0/8", fmt.Sprint("HOSTLER_SLOTS=", 2*size.commands+8),
	}
}

// stress is a server that runs long commands while everything else is done to it.
type stress struct {
	*rig
	size stressSize
	// open runs a function on the store, to write only while the server is stopped.
	open func(fn func(st *store.Store))
	full hostler.WebhookID // the webhook with many deliveries
	jobs []hostler.JobID   // of the commands
	stop chan struct{}
	wg   sync.WaitGroup
}

func newStress(t *testing.T, size stressSize, r *rig, open func(fn func(st *store.Store))) *stress {
	s := &stress{rig: r, size: size, open: open, stop: make(chan struct{})}
	s.fillWebhook()
	if _, err := s.client.PutQueue(t.Context(), "noise", hostler.QueueLimits{}); err != nil {
		t.Fatal(err)
	}
	s.startCommands()
	return s
}

// fillWebhook creates a webhook with many deliveries, while the server is stopped.
func (s *stress) fillWebhook() {
	s.t.Helper()
	made, err := s.client.CreateWebhook(s.t.Context(), hostler.WebhookInput{
		Name: "full", URL: "http://127.0.0.1:9/", Events: []string{"job.succeeded"}, GenerateSecret: true,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.full = made.Webhook.ID
	s.kill()
	s.open(func(st *store.Store) {
		const chunk = 10_000
		for from := 0; from < s.size.deliveries; from += chunk {
			s.insertDeliveries(st, from, min(from+chunk, s.size.deliveries))
		}
	})
	s.start()
}

// insertDeliveries inserts a part of the deliveries that have ended.
func (s *stress) insertDeliveries(st *store.Store, from, to int) {
	s.t.Helper()
	first := int64(s.full) - int64(s.size.deliveries) // ids that nobody else gets
	err := st.InTx(s.t.Context(), func(tx *store.Tx) error {
		at := tx.Now().UnixMicro()
		_, err := tx.Exec(`INSERT INTO delivery (id, webhook, project, pos, type, job, event, state, next_at, created_at, ended_at)
WITH RECURSIVE s(i) AS (SELECT CAST(? AS BIGINT) UNION ALL SELECT i + 1 FROM s WHERE i < ?)
SELECT i, ?, 1, 0, 'job.succeeded', 0, '{}', 'delivered', 0, ?, ? FROM s`, first+int64(from), first+int64(to)-1, s.full, at, at)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// checkDeleted checks that the deliveries of the deleted webhook go away.
func (s *stress) checkDeleted() {
	s.t.Helper()
	s.kill()
	s.open(func(st *store.Store) {
		var left int64
		err := st.InTx(s.t.Context(), func(tx *store.Tx) (err error) {
			left, err = tx.Exec(`UPDATE delivery SET pos = 0 WHERE webhook = ?`, s.full)
			return err
		})
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Logf("%d of the %d deliveries of the deleted webhook are left", left, s.size.deliveries)
		if left == int64(s.size.deliveries) {
			s.t.Error("no delivery of the deleted webhook is gone")
		}
	})
}

// startCommands starts the commands, one in each lane, with a short one queued behind it.
func (s *stress) startCommands() {
	s.t.Helper()
	for i := range s.size.commands {
		for _, part := range []struct {
			name string
			span time.Duration
		}{{"long", s.size.command}, {"next", 0}} {
			tag := fmt.Sprintf("%d-%s", i, part.name)
			script := fmt.Sprintf("echo s %s >>%[2]s; sleep %[3]v; echo e %[1]s >>%[2]s", tag, s.ledger, part.span.Seconds())
			args, err := json.Marshal(map[string]any{"argv": []string{"sh", "-c", script}})
			if err != nil {
				s.t.Fatal(err)
			}
			made, err := s.client.CreateJobs(s.t.Context(), hostler.JobRequest{
				Action: "local_command", Args: args, Lane: fmt.Sprint("device-", i), OnLost: hostler.OnLostAsk,
				Timeout: hostler.Duration(10 * time.Minute),
			}, client.CreateOptions{})
			if err != nil {
				s.t.Fatal(err)
			}
			s.jobs = append(s.jobs, made.Jobs[0])
		}
	}
	s.until("all commands to run", func() bool {
		text, _ := os.ReadFile(s.ledger)
		return strings.Count(string(text), "s ") >= s.size.commands
	})
}

// run does everything at once until the commands have ended. frozen is the server that is
// stopped for a while.
func (s *stress) run(frozen *rig) {
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	s.t.Cleanup(receiver.Close)
	for i := range s.size.webhooks {
		s.hook(fmt.Sprint("hook-", i), receiver.URL)
	}
	for range s.size.readers {
		s.wg.Go(s.readSlowly)
	}
	late := s.watchHeartbeats(frozen)
	if err := s.importAssets("10.0.0."); err != nil {
		s.t.Fatal(err)
	}
	s.wg.Go(func() { s.repeat("fan-out", s.fanOut) })
	s.wg.Go(func() {
		s.repeat("import", func(n int) error { return s.importAssets(fmt.Sprintf("10.%d.0.", n%200)) })
	})
	s.wg.Go(func() { s.repeat("pause", s.pause) })
	s.wg.Go(func() { s.repeat("webhook", func(n int) error { return s.replaceHook(n, receiver.URL) }) })

	if err := s.client.DeleteWebhook(s.t.Context(), "full"); err != nil {
		s.t.Errorf("delete the webhook with many deliveries: %v", err)
	}
	// The clock of the server that runs the commands steps: an hour forward, to an hour
	// back, and to the right time again.
	for _, by := range []syscall.Signal{stepForward, stepBack, stepBack, stepForward} {
		s.wait(s.size.command / 20)
		s.step(by)
	}
	s.wait(s.size.command / 20)
	for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
		if err := frozen.cmd.Process.Signal(sig); err != nil {
			s.t.Fatal(err)
		}
		if sig == syscall.SIGSTOP {
			s.wait(s.size.frozen)
		}
	}

	s.awaitCommands("-long", s.size.commands)
	s.wait(s.size.after)
	close(s.stop)
	s.wg.Wait()
	s.awaitCommands("", 2*s.size.commands)
	s.checkCommands()
	s.checkDeleted()
	if l := late(); l > 5*time.Second {
		s.t.Errorf("heartbeats were late by %v (p99), want less than 5 s", l)
	}
}

// awaitCommands waits until n commands have ended whose tags end so. It says how far they
// have come when that takes too long.
func (s *stress) awaitCommands(suffix string, n int) {
	ended := func() (n int) {
		for _, e := range s.readLedger() {
			if e.what == "e" && strings.HasSuffix(e.tag, suffix) {
				n++
			}
		}
		return n
	}
	for deadline := time.Now().Add(deliverTime + 2*s.size.command); ended() < n; s.wait(time.Second) {
		if time.Now().Before(deadline) {
			continue
		}
		states := map[hostler.State]int{}
		for _, id := range s.jobs {
			j, err := s.client.Job(s.t.Context(), id)
			if err != nil {
				s.t.Logf("command %v: %v", id, err)
			}
			states[j.State]++
		}
		log, _ := os.ReadFile(filepath.Join(filepath.Dir(s.dir), "server.log"))
		s.t.Fatalf("%d of %d commands ended; states: %v; the server's log ends with\n%s",
			ended(), n, states, log[max(0, len(log)-8192):])
	}
}

// repeat does something again and again until the end. Requests may be refused, or time
// out: the commands matter.
func (s *stress) repeat(what string, fn func(n int) error) {
	done, failed := 0, 0
	defer func() {
		s.t.Logf("%s: %d done, %d refused", what, done, failed)
		if done == 0 {
			s.t.Errorf("%s never succeeded: the run shows nothing", what)
		}
	}()
	for n := 1; ; n++ {
		if err := fn(n); err != nil {
			failed++
		} else {
			done++
		}
		select {
		case <-s.stop:
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (s *stress) hook(name, url string) {
	s.t.Helper()
	_, err := s.client.CreateWebhook(s.t.Context(), hostler.WebhookInput{
		Name: name, URL: url, Events: []string{"job.scheduled"}, GenerateSecret: true, Limit: 8,
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// replaceHook deletes a webhook with all its deliveries, and creates it again.
func (s *stress) replaceHook(n int, url string) error {
	name := fmt.Sprint("hook-", n%s.size.webhooks)
	if err := s.client.DeleteWebhook(s.t.Context(), name); err != nil && hostler.CodeOf(err) != hostler.CodeNotFound {
		return err
	}
	_, err := s.client.CreateWebhook(s.t.Context(), hostler.WebhookInput{
		Name: name, URL: url, Events: []string{"job.scheduled"}, GenerateSecret: true, Limit: 8,
	})
	return err
}

// importAssets creates the assets, or gives them other addresses, which moves their jobs
// to other lanes.
func (s *stress) importAssets(net string) error {
	var b strings.Builder
	b.WriteString("name,address,label.role\n")
	for i := range s.size.assets {
		fmt.Fprintf(&b, "stress%d,%s%d,stress\n", i, net, i%250)
	}
	_, err := s.client.ImportAssets(s.t.Context(), []byte(b.String()), hostler.ImportOptions{})
	return err
}

// fanOut makes scheduled jobs for all assets, as often as the size says.
func (s *stress) fanOut(int) error {
	for made := 0; made < s.size.fanOut; {
		got, err := s.client.CreateJobs(s.t.Context(), hostler.JobRequest{
			Action: "check_port", Labels: map[string]string{"role": "stress"}, Queue: "noise",
			Delay: hostler.Duration(24 * time.Hour),
		}, client.CreateOptions{})
		if err != nil {
			return err
		}
		made += got.Count
		select {
		case <-s.stop:
			return nil
		default:
		}
	}
	return nil
}

func (s *stress) pause(n int) error {
	change := s.client.PauseQueue
	if n%2 == 0 {
		change = s.client.ResumeQueue
	}
	_, err := change(s.t.Context(), "noise")
	return err
}

// readSlowly asks for large answers and reads a few bytes of each second.
func (s *stress) readSlowly() {
	for {
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			_, _ = fmt.Fprintf(c, "GET /api/v1/jobs?limit=1000 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", s.key())
			for buf := make([]byte, 64); err == nil; {
				_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
				_, err = c.Read(buf)
				select {
				case <-s.stop:
					err = context.Canceled
				case <-time.After(time.Second):
				}
			}
			_ = c.Close()
		}
		select {
		case <-s.stop:
			return
		case <-time.After(time.Second):
		}
	}
}

// watchHeartbeats returns a function that returns by how much the heartbeats of the
// commands' worker came late, at the 99th percentile. It looks into the database: the API
// may refuse, and the clock of the server steps.
func (s *stress) watchHeartbeats(frozen *rig) func() time.Duration {
	var mu sync.Mutex
	var late []time.Duration
	const every = 5 * time.Second // the long poll of a heartbeat
	s.wg.Go(func() {
		s.open(func(st *store.Store) {
			var last, since time.Time
			for {
				var all []hostler.Worker
				_ = st.View(s.t.Context(), func(tx *store.Tx) (err error) { // none, when it fails
					all, err = tx.Workers()
					return err
				})
				at := last
				for _, w := range all {
					if w.PID == s.cmd.Process.Pid {
						at = w.LastHeartbeat
					}
				}
				if now := time.Now(); !at.Equal(last) {
					// A server that is stopped sends none: that is not late.
					if span := now.Sub(since); !last.IsZero() && (frozen.cmd != s.cmd || span < s.size.frozen) {
						mu.Lock()
						late = append(late, span-every)
						mu.Unlock()
					}
					last, since = at, now
				}
				select {
				case <-s.stop:
					return
				case <-time.After(50 * time.Millisecond):
				}
			}
		})
	})
	return func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		if len(late) == 0 {
			s.t.Error("no heartbeat was seen")
			return 0
		}
		slices.Sort(late)
		s.t.Logf("%d heartbeats, late by %v at most, %v in the median", len(late), late[len(late)-1], late[len(late)/2])
		return late[len(late)*99/100]
	}
}

// checkCommands compares the ledger with the jobs: each command ran once, to its end, and
// the next one of its lane began after it.
func (s *stress) checkCommands() {
	s.t.Helper()
	for _, id := range s.jobs {
		var j hostler.Job
		s.until("the end of "+id.String(), func() (ended bool) {
			var err error
			j, err = s.client.Job(s.t.Context(), id)
			return err == nil && (j.State.Terminal() || j.State == hostler.StateUnknown)
		})
		if j.State != hostler.StateSucceeded || j.Attempt != 1 {
			s.t.Errorf("command %v is %s after %d attempts, want succeeded after one: %+v", id, j.State, j.Attempt, j.Error)
		}
	}
	lanes := map[string][]string{}
	for _, e := range s.readLedger() {
		lane, part, _ := strings.Cut(e.tag, "-")
		lanes[lane] = append(lanes[lane], e.what+" "+part)
	}
	for lane, got := range lanes {
		if want := []string{"s long", "e long", "s next", "e next"}; !slices.Equal(got, want) {
			s.t.Errorf("on the device of lane %s: %v, want %v", lane, got, want)
		}
	}
}
