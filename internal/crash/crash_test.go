package crash

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/postgres"
	"hostler.dev/hostler/internal/store/sqlite"
	"hostler.dev/hostler/internal/store/storetest"
)

const (
	producers = 6
	pace      = 25 * time.Millisecond // of each producer
	life      = time.Second           // of the server in a cycle
	minRate   = 50                    // jobs started a second, or the cycle does not count
	minLive   = 20                    // jobs that run at the kill, or the cycle does not count
	drainTime = 3 * time.Minute
)

// binary is the server, built once.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "hostler-crash-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "hostler")
	if out, err := exec.Command("go", "build", "-o", binary, "hostler.dev/hostler/cmd/hostler").CombinedOutput(); err != nil { //nolint:gosec // our own package
		panic(fmt.Sprintf("build: %v\n%s", err, out))
	}
	defer func() { _ = os.RemoveAll(dir) }()
	storetest.Main(m)
}

func cycles(t *testing.T) int {
	t.Helper()
	text := os.Getenv("CRASH_CYCLES")
	if text == "" {
		return 50
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("CRASH_CYCLES: %q is not a number of kills", text)
	}
	return n
}

func TestKillServerOnSQLite(t *testing.T) {
	t.Parallel()
	r := newRig(t, "")
	r.crash(cycles(t), func() []string {
		db, err := sqlite.Open(filepath.Join(r.dir, "hostler.db"), sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		return broken(t, store.New(db, db))
	})
}

func TestKillServerOnPostgres(t *testing.T) {
	t.Parallel()
	dsn := storetest.Postgres(t)
	db, err := postgres.Open(t.Context(), dsn, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	st := store.New(db, db)
	r := newRig(t, dsn)
	r.crash(cycles(t), func() []string { return broken(t, st) })
}

// broken returns the broken invariants of the store.
func broken(t *testing.T, st *store.Store) (out []string) {
	t.Helper()
	err := st.View(t.Context(), func(tx *store.Tx) (err error) {
		out, err = tx.CheckInvariants()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// rig is a server that is killed, and its load.
type rig struct {
	t      *testing.T
	binary string
	dir    string
	env    []string
	addr   string
	client *client.Client
	ledger string
	cmd    *exec.Cmd

	printed atomic.Int64 // jobs of killForOutputs

	mu    sync.Mutex
	acked []job
	seen  map[string]bool // tags that the ledger knew at the last kill
}

// job is a job whose creation was acknowledged to a producer.
type job struct {
	tag      string
	id       hostler.JobID
	onLost   hostler.OnLost
	producer int
	lane     bool
}

// ownUser is the user of this process.
func ownUser(t *testing.T) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

// newRig starts a server; more are settings of its environment.
func newRig(t *testing.T, db string, more ...string) *rig {
	t.Helper()
	return newRigOf(t, binary, db, more...)
}

// newRigOf is newRig with another build of the server.
func newRigOf(t *testing.T, binary, db string, more ...string) *rig {
	t.Helper()
	dir, key := t.TempDir(), auth.NewKey()
	r := &rig{t: t, binary: binary, dir: filepath.Join(dir, "data"), ledger: filepath.Join(dir, "ledger"), seen: map[string]bool{}}
	r.env = append(os.Environ(), "HOME="+dir, "HOSTLER_CONTEXT_FILE="+filepath.Join(dir, "context.yaml"),
		"HOSTLER_ADMIN_KEY="+key, "HOSTLER_ENABLE_LOCAL_COMMAND=true", "HOSTLER_SLOTS=64",
		"HOSTLER_DATA="+r.dir, "HOSTLER_LISTEN=127.0.0.1:0")
	r.env = append(r.env, "HOSTLER_LOCAL_COMMAND_USER="+ownUser(t)) // the jobs write to the ledger
	r.env = append(r.env, more...)
	if db != "" {
		r.env = append(r.env, "HOSTLER_DB="+db)
	}
	r.start()
	r.env = append(r.env, "HOSTLER_LISTEN="+r.addr) // the same port from now on
	var err error
	if r.client, err = client.New("http://"+r.addr, key); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
	})
	return r
}

// start starts the server and waits until it prints its address.
func (r *rig) start() {
	r.t.Helper()
	r.cmd = exec.Command(r.binary, "serve") //nolint:gosec // our own binary
	r.cmd.Env = r.env
	logPath := filepath.Join(filepath.Dir(r.dir), "server.log")
	errFile, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = errFile.Close() }()
	r.cmd.Stderr = errFile
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		text, _ := os.ReadFile(errFile.Name())
		r.t.Fatalf("the server did not start: %v\n%s", err, text)
	}
	_, addr, ok := strings.Cut(strings.TrimSpace(line), "http://")
	if !ok {
		r.t.Fatalf("the server printed %q, not its address", line)
	}
	r.addr = addr
}

// key is the admin's key.
func (r *rig) key() string {
	at := slices.IndexFunc(r.env, func(v string) bool { return strings.HasPrefix(v, "HOSTLER_ADMIN_KEY=") })
	_, secret, _ := strings.Cut(r.env[at], "=")
	return secret
}

func (r *rig) kill() {
	r.t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		r.t.Fatal(err)
	}
	_ = r.cmd.Wait() // always "killed"
}

// crash kills the server n times under load and then compares the records.
func (r *rig) crash(n int, invariants func() []string) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() { r.produce(p, stop) })
	}
	counted := 0
	for try := 0; counted < n; try++ {
		if try == 3*n {
			r.t.Fatalf("%d of %d cycles had enough load", counted, n)
		}
		r.wait(life)
		r.kill()
		if r.loaded() {
			counted++
		}
		if bad := invariants(); len(bad) > 0 {
			r.t.Errorf("cycle %d: %v", try, bad)
		}
		r.start()
	}
	close(stop)
	wg.Wait()
	r.drain()
	r.compare()
	if bad := invariants(); len(bad) > 0 {
		r.t.Errorf("after the last cycle: %v", bad)
	}
}

func (r *rig) wait(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	<-t.C
}

// produce enqueues jobs one after the other. Every eighth job is in the producer's lane;
// those must run in the order in which they were acknowledged.
func (r *rig) produce(p int, stop <-chan struct{}) {
	t := time.NewTicker(pace)
	defer t.Stop()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-t.C:
		}
		j := job{tag: fmt.Sprintf("%d-%d", p, i), onLost: hostler.OnLostRetry, producer: p, lane: i%8 == 0}
		lane := hostler.LaneNone
		switch {
		case j.lane:
			lane = fmt.Sprintf("lane-%d", p)
		case i%2 == 0:
			j.onLost = hostler.OnLostAsk
		}
		if id, ok := r.enqueue(j, lane, stop); ok {
			j.id = id
			r.mu.Lock()
			r.acked = append(r.acked, j)
			r.mu.Unlock()
		}
	}
}

// enqueue repeats the call under one idempotency key until it gets an answer.
func (r *rig) enqueue(j job, lane string, stop <-chan struct{}) (hostler.JobID, bool) {
	script := fmt.Sprintf("echo s %s >>%[2]s; sleep 0.25; echo e %[1]s >>%[2]s", j.tag, r.ledger)
	args, err := json.Marshal(map[string]any{"argv": []string{"sh", "-c", script}})
	if err != nil {
		r.t.Error(err)
		return 0, false
	}
	for {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.t.Context()), 5*time.Second)
		req := hostler.JobRequest{Action: "local_command", Args: args, Lane: lane, OnLost: j.onLost}
		made, err := r.client.CreateJobs(ctx, req, client.CreateOptions{IdempotencyKey: j.tag})
		cancel()
		if err == nil && len(made.Jobs) == 1 {
			return made.Jobs[0], true
		}
		select {
		case <-stop:
			return 0, false
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// entry is a line of the ledger: a job's start or its end.
type entry struct{ what, tag string }

func (r *rig) readLedger() (out []entry) {
	r.t.Helper()
	text, err := os.ReadFile(r.ledger)
	if err != nil {
		r.t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		what, tag, ok := strings.Cut(strings.TrimSpace(string(line)), " ")
		if !ok {
			r.t.Fatalf("unexpected line in the ledger: %q", line)
		}
		out = append(out, entry{what, tag})
	}
	return out
}

// loaded reports whether the last cycle had enough load to count.
func (r *rig) loaded() bool {
	started, live := 0, 0
	ended := map[string]bool{}
	entries := r.readLedger()
	for _, e := range entries {
		if e.what == "e" {
			ended[e.tag] = true
		}
	}
	for _, e := range entries {
		if e.what != "s" || r.seen[e.tag] {
			continue
		}
		r.seen[e.tag] = true
		started++
		if !ended[e.tag] {
			live++
		}
	}
	return float64(started) >= minRate*life.Seconds() && live >= minLive
}

// drain waits until no job is left to run, and resolves unknown ones.
func (r *rig) drain() {
	r.t.Helper()
	ctx := r.t.Context()
	for deadline := time.Now().Add(drainTime); time.Now().Before(deadline); r.wait(200 * time.Millisecond) {
		filter := hostler.JobFilter{States: []hostler.State{hostler.StateUnknown}}
		req := hostler.BulkRequest{Filter: &filter, State: hostler.StateFailed, Note: "killed"}
		if _, err := r.client.ResolveJobs(ctx, req); err != nil {
			r.t.Fatal(err)
		}
		left, err := r.client.Jobs(ctx, hostler.JobFilter{States: []hostler.State{
			hostler.StateQueued, hostler.StateRunning, hostler.StateScheduled, hostler.StateUnknown,
		}}, hostler.Page{Limit: 1})
		if err != nil {
			r.t.Fatal(err)
		}
		if len(left.Items) == 0 {
			return
		}
	}
	r.t.Fatalf("jobs are left after %v", drainTime)
}

// compare compares what was acknowledged with the server's jobs and the ledger.
func (r *rig) compare() {
	r.t.Helper()
	starts := map[string]int{}
	var order []string
	for _, e := range r.readLedger() {
		if e.what != "s" {
			continue
		}
		if starts[e.tag]++; starts[e.tag] == 1 {
			order = append(order, e.tag)
		}
	}
	states := map[hostler.State]int{}
	lanes := map[int][]string{}
	ids := map[hostler.JobID]bool{}
	for _, j := range r.acked {
		got, err := r.client.Job(r.t.Context(), j.id)
		if err != nil {
			r.t.Fatalf("acknowledged job %s (%v) is lost: %v", j.tag, j.id, err)
		}
		states[got.State]++
		if ids[j.id] {
			r.t.Errorf("two calls returned job %v", j.id)
		}
		ids[j.id] = true
		switch n := starts[j.tag]; {
		case !got.State.Terminal():
			r.t.Errorf("job %s is still %s", j.tag, got.State)
		case j.onLost == hostler.OnLostAsk && n > 1:
			r.t.Errorf("job %s must not be repeated but ran %d times", j.tag, n)
		case got.State == hostler.StateSucceeded && n == 0:
			r.t.Errorf("job %s succeeded but never ran", j.tag)
		case j.onLost == hostler.OnLostRetry && got.State != hostler.StateSucceeded:
			r.t.Errorf("job %s may be repeated but is %s", j.tag, got.State)
		}
		if j.lane {
			lanes[j.producer] = append(lanes[j.producer], j.tag)
		}
	}
	for p, want := range lanes {
		got := slices.DeleteFunc(slices.Clone(order), func(tag string) bool { return !slices.Contains(want, tag) })
		if !slices.Equal(got, want) {
			r.t.Errorf("lane %d ran out of order", p)
		}
	}
	r.t.Logf("%d jobs acknowledged: %v", len(r.acked), states)
}
