package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/store/storetest"
)

// restarts is how often the tests of outputs kill the server: CRASH_RESTARTS, or few.
func restarts(t *testing.T) int {
	t.Helper()
	text := os.Getenv("CRASH_RESTARTS")
	if text == "" {
		return 10
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("CRASH_RESTARTS: %q is not a number of kills", text)
	}
	return n
}

func TestKillKeepsOutputsOnSQLite(t *testing.T) {
	t.Parallel()
	newRig(t, "").killForOutputs(restarts(t))
}

func TestKillKeepsOutputsOnPostgres(t *testing.T) {
	t.Parallel()
	newRig(t, storetest.Postgres(t)).killForOutputs(restarts(t))
}

// killForOutputs kills the server n times, a moment after it started, while short jobs
// print, small and large outputs. What ended has its whole output: it is durable before
// the end of a job is. And none of the starts logs an error.
func (r *rig) killForOutputs(n int) {
	stop := make(chan struct{})
	made := make([]map[hostler.JobID]string, producers) // the last line by job
	var wg sync.WaitGroup
	for p := range producers {
		made[p] = map[hostler.JobID]string{}
		wg.Go(func() { r.print(p, made[p], stop) })
	}
	ended := 0
	for range n {
		enough := r.printed.Load() + 10
		r.until("jobs to be created", func() bool { return r.printed.Load() >= enough })
		r.wait(time.Duration(rand.IntN(300)) * time.Millisecond)
		r.kill()
		r.start()
	}
	close(stop)
	wg.Wait()
	r.drain()
	for _, lines := range made {
		for id, line := range lines {
			log, err := r.client.Log(r.t.Context(), id, client.LogQuery{Tail: 1})
			if err != nil {
				r.t.Fatal(err)
			}
			ended++
			if len(log.Items) != 1 || !strings.HasSuffix(strings.TrimSpace(log.Items[0].Text), line) {
				j, err := r.client.Job(r.t.Context(), id)
				r.t.Errorf("the output of job %v, %s after %d attempts, ends with %v, want %q (%v)",
					id, j.State, j.Attempt, log.Items, line, err)
			}
		}
	}
	r.t.Logf("%d outputs after %d kills", ended, n)
	log, err := os.ReadFile(filepath.Join(filepath.Dir(r.dir), "server.log"))
	if err != nil {
		r.t.Fatal(err)
	}
	for line := range bytes.Lines(log) {
		if bytes.Contains(line, []byte("level=ERROR")) {
			r.t.Errorf("the server logged %s", line)
		}
	}
}

// print creates jobs that print, one after the other.
func (r *rig) print(p int, made map[hostler.JobID]string, stop <-chan struct{}) {
	for i := 0; ; i++ {
		tag := fmt.Sprintf("end-%d-%d", p, i)
		script := "echo " + tag
		if i%8 == 0 {
			script = "seq 20000; " + script
		}
		args, err := json.Marshal(map[string]any{"argv": []string{"sh", "-c", script}})
		if err != nil {
			r.t.Error(err)
			return
		}
		for len(made) <= i {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(r.t.Context()), 5*time.Second)
			got, err := r.client.CreateJobs(ctx, hostler.JobRequest{
				Action: "local_command", Args: args, OnLost: hostler.OnLostRetry,
			}, client.CreateOptions{IdempotencyKey: tag})
			cancel()
			if err == nil {
				made[got.Jobs[0]] = tag
				r.printed.Add(1)
			}
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
}
