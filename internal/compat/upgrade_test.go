package compat

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/store/schema"
	"hostler.dev/hostler/internal/store/storetest"
)

const (
	// neighbour is a migration of the next release; this one can work with its data.
	neighbour = `-- +goose Up
-- floor: %d
ALTER TABLE job ADD COLUMN of_next_release ${INT} NOT NULL DEFAULT 0;
ALTER TABLE ${HISTORY} ADD COLUMN of_next_release ${INT} NOT NULL DEFAULT 0;
CREATE TABLE of_next_release (id ${INT} PRIMARY KEY);
`
	// afterNext is one of a release further on, with whose data this one cannot work.
	afterNext = `-- +goose Up
CREATE TABLE of_release_after_next (id ${INT} PRIMARY KEY);
`
)

// release builds the program of this tree with additional migrations, as a later release.
func release(t *testing.T, version string, migrations ...string) string {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for i, text := range migrations {
		name := fmt.Sprintf("9000%d_later.sql", i)
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[filepath.Join(root, "internal", "store", "schema", "main", name)] = file
	}
	raw, err := json.Marshal(overlay)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "overlay.json"), raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "hostler")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-overlay", filepath.Join(dir, "overlay.json"),
		"-ldflags", "-X hostler.dev/hostler/internal/cli.version="+version,
		"-o", bin, "hostler.dev/hostler/cmd/hostler").CombinedOutput()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

func nextRelease() string { return fmt.Sprintf(neighbour, schema.Current().Known) }

// cluster is several servers on one database, which are replaced while jobs arrive.
type cluster struct {
	t       *testing.T
	ledger  string
	servers []*server

	mu      sync.Mutex // guards urls
	urls    []string
	created sync.Map // JobID → tag
}

func newCluster(t *testing.T, bin string, n int) *cluster {
	t.Helper()
	c := &cluster{t: t, ledger: filepath.Join(t.TempDir(), "ledger"), urls: make([]string, n)}
	db, key := storetest.Postgres(t), auth.NewKey()
	var master []byte
	own, err := user.Current() // the jobs write to the ledger
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		home := t.TempDir()
		if i > 0 {
			data := filepath.Join(home, "data")
			if err := os.MkdirAll(data, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(data, "master.key"), master, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s := start(t, bin, home, db, key, "HOSTLER_LOCAL_COMMAND_USER="+own.Username)
		c.servers, c.urls[i] = append(c.servers, s), s.url
		var err error
		if master, err = os.ReadFile(filepath.Join(home, "data", "master.key")); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *cluster) url(i int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.urls[i%len(c.urls)]
}

// replace stops a server as an operator does, and starts another release in its place.
func (c *cluster) replace(i int, bin string) {
	c.t.Helper()
	s := c.servers[i]
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		c.t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		c.t.Fatalf("the server ended with %v\n%s", err, s.log())
	}
	s.bin = bin
	s.start()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.urls[i] = s.url
}

// produce creates jobs, one after another and each once, until ctx is done.
func (c *cluster) produce(ctx context.Context, producer int) {
	for n := 0; ctx.Err() == nil; n++ {
		tag := fmt.Sprintf("%d-%d", producer, n)
		args, err := json.Marshal(map[string]any{
			"argv": []string{"sh", "-c", `echo "$1" >> "$2"; sleep 0.05`, "sh", tag, c.ledger},
		})
		if err != nil {
			c.t.Error(err)
			return
		}
		req := hostler.JobRequest{Action: "local_command", Args: args, OnLost: hostler.OnLostFail, Lane: "lane-" + strconv.Itoa(n%5)}
		if id, ok := c.create(producer, tag, req); ok {
			c.created.Store(id, tag)
		}
	}
}

// create sends a request until one server has accepted it.
func (c *cluster) create(producer int, tag string, req hostler.JobRequest) (hostler.JobID, bool) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var err error
	for try := range 1000 {
		api, cerr := client.New(c.url(producer+try), c.servers[0].key)
		if cerr != nil {
			c.t.Error(cerr)
			return 0, false
		}
		made, cerr := api.CreateJobs(c.t.Context(), req, client.CreateOptions{IdempotencyKey: "upgrade-" + tag})
		if cerr == nil {
			return made.Jobs[0], true
		}
		if err = cerr; !hostler.CodeOf(err).Temporary() {
			break
		}
		<-tick.C
	}
	c.t.Errorf("job %s was not accepted: %v", tag, err)
	return 0, false
}

// TestUpgradeServerByServer replaces the servers of a database one by one by the next
// release, and one of them by this release again, while jobs arrive all the time: every
// job runs once and has every event.
func TestUpgradeServerByServer(t *testing.T) {
	next := release(t, "next", nextRelease())
	c := newCluster(t, binary, 2)
	ctx, stop := context.WithCancel(t.Context())
	var producers sync.WaitGroup
	for p := range 4 {
		producers.Go(func() { c.produce(ctx, p) })
	}
	enough := func(n int) {
		c.servers[0].await("more jobs to be created", func() bool {
			count := 0
			c.created.Range(func(any, any) bool { count++; return true })
			return count >= n
		})
	}
	for i, step := range []struct {
		server int
		bin    string
	}{{0, next}, {0, binary}, {0, next}, {1, next}} {
		enough((i + 1) * 100)
		c.replace(step.server, step.bin)
	}
	enough(500)
	stop()
	producers.Wait()
	c.check()
}

// check compares the ledger and the events with the jobs that were created.
func (c *cluster) check() {
	c.t.Helper()
	api, err := client.New(c.url(0), c.servers[0].key)
	if err != nil {
		c.t.Fatal(err)
	}
	jobs := map[hostler.JobID]string{}
	c.created.Range(func(id, tag any) bool { jobs[id.(hostler.JobID)] = tag.(string); return true })
	var events map[hostler.JobID]map[hostler.EventType]int
	c.servers[0].await("every job to end, with its events", func() bool {
		events = map[hostler.JobID]map[hostler.EventType]int{}
		ended := 0
		for step, err := range api.StoredEvents(c.t.Context(), hostler.EventFilter{}, 0) {
			if err != nil {
				c.t.Fatal(err)
			}
			var e hostler.JobEvent
			if !strings.HasPrefix(string(step.Event.Type), "job.") || json.Unmarshal(step.Event.Data, &e) != nil {
				continue
			}
			if events[e.Job] == nil {
				events[e.Job] = map[hostler.EventType]int{}
			}
			events[e.Job][step.Event.Type]++
			if e.State.Terminal() {
				ended++
			}
		}
		return ended >= len(jobs)
	})
	raw, err := os.ReadFile(c.ledger)
	if err != nil {
		c.t.Fatal(err)
	}
	runs := map[string]int{}
	for tag := range strings.FieldsSeq(string(raw)) {
		runs[tag]++
	}
	for id, tag := range jobs {
		got := events[id]
		if runs[tag] != 1 || got[hostler.EventJobQueued] == 0 || got[hostler.EventJobStarted] == 0 || got[hostler.EventJobSucceeded] != 1 {
			c.t.Errorf("job %s ran %d times and has the events %v", tag, runs[tag], got)
		}
	}
	if len(runs) != len(jobs) || len(jobs) < 500 {
		c.t.Errorf("%d commands ran for %d jobs", len(runs), len(jobs))
	}
}

// TestUpgradePastALiveServer starts a release that cannot work beside this one: it waits
// and names the live server. Once that is gone, it takes over, and this one refuses.
func TestUpgradePastALiveServer(t *testing.T) {
	c := newCluster(t, binary, 1)
	s := c.servers[0]
	later := release(t, "later", nextRelease(), afterNext)
	cmd := exec.CommandContext(t.Context(), later, "serve") //nolint:gosec // our own binary
	cmd.Env = append(slices.Clone(s.env), "HOSTLER_DATA="+filepath.Join(s.home, "later"))
	master, err := os.ReadFile(filepath.Join(s.home, "data", "master.key"))
	if err == nil {
		err = os.MkdirAll(filepath.Join(s.home, "later"), 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(s.home, "later", "master.key"), master, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	_ = w.Close()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	output := &lines{t: t, r: r}
	output.until(host + " (pid " + strconv.Itoa(s.cmd.Process.Pid))
	if s.send("GET", "/readyz", "").status != 200 {
		t.Error("the live server was disturbed")
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	output.until("Hostler later is at")
	again := exec.CommandContext(t.Context(), binary, "serve") //nolint:gosec // our own binary
	again.Env = s.env
	out, err := again.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "too old for this data, which Hostler later has upgraded") {
		t.Errorf("this release on the later one's data: %v\n%s", err, out)
	}
}

// lines reads the output of a process.
type lines struct {
	t    *testing.T
	r    io.Reader
	seen string
}

// until waits for a text; the process's end ends it.
func (l *lines) until(text string) {
	l.t.Helper()
	buf := make([]byte, 4096)
	for !strings.Contains(l.seen, text) {
		n, err := l.r.Read(buf)
		l.seen += string(buf[:n])
		if err != nil {
			l.t.Fatalf("no %q in the output: %v\n%s", text, err, l.seen)
		}
	}
}
