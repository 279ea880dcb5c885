package app_test

import (
	"flag"
	"fmt"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store/storetest"
)

// cuts is how many connections [TestCutConnections] resets for each use case.
var cuts = flag.Int("cuts", 30, "connections to reset per use case in TestCutConnections")

// cutEnv is an env with an asset to run jobs on.
type cutEnv struct {
	*env
	host hostler.AssetID
}

// creation is a use case that creates something each time it is called, and how
// many there are of it.
type creation struct {
	name  string
	do    func(t *testing.T, w *cutEnv, i int) error
	count func(t *testing.T, w *cutEnv) int
}

// queueOf gives each use case that creates jobs a queue of its own.
func queueOf(name string) string { return "of-" + name }

func queued(name string) func(t *testing.T, w *cutEnv) int {
	return func(t *testing.T, w *cutEnv) int {
		t.Helper()
		for _, q := range must(w.Queues(t.Context(), w.admin))(t) {
			if q.Name == queueOf(name) {
				return q.Queued
			}
		}
		return 0
	}
}

func jobIn(name string) hostler.JobRequest {
	return hostler.JobRequest{Action: "ping", Assets: []string{"host"}, Queue: queueOf(name)}
}

// retried returns how to retry an ended job, twice if under one key.
func retried(name string, once bool) func(t *testing.T, w *cutEnv, i int) error {
	var ended hostler.JobID
	return func(t *testing.T, w *cutEnv, i int) error {
		t.Helper()
		if ended == 0 {
			ended = w.run(t, jobIn(name)).Jobs[0]
			must(w.CancelJob(t.Context(), w.operator, ended))(t)
		}
		key := ""
		if once {
			key = fmt.Sprint(i)
		}
		fresh, err := w.RetryJob(t.Context(), w.operator, ended, key)
		if err != nil || !once {
			return err
		}
		again, err := w.RetryJob(t.Context(), w.operator, ended, key)
		if err == nil && again.ID != fresh.ID {
			err = fmt.Errorf("job %s, then %s under one key", fresh.ID, again.ID)
		}
		return err
	}
}

var creations = []creation{
	{"run", func(t *testing.T, w *cutEnv, _ int) error {
		_, err := w.RunJobs(t.Context(), w.operator, jobIn("run"), "")
		return err
	}, queued("run")},
	{"run-once", func(t *testing.T, w *cutEnv, i int) error {
		key := fmt.Sprint(i)
		made, err := w.RunJobs(t.Context(), w.operator, jobIn("run-once"), key)
		if err != nil {
			return err
		}
		again, err := w.RunJobs(t.Context(), w.operator, jobIn("run-once"), key)
		if err == nil && again.Run != made.Run {
			err = fmt.Errorf("run %s, then %s under one key", made.Run, again.Run)
		}
		return err
	}, queued("run-once")},
	{"batch", func(t *testing.T, w *cutEnv, _ int) error {
		out, err := w.RunBatch(t.Context(), w.operator, []hostler.JobRequest{jobIn("batch")})
		if err != nil {
			return err
		}
		return out[0].Err
	}, queued("batch")},
	{"retry", retried("retry", false), queued("retry")},
	{"retry-once", retried("retry-once", true), queued("retry-once")},
	{"task", func(t *testing.T, w *cutEnv, _ int) error {
		_, err := w.RunTask(t.Context(), w.operator, w.host, "unheard_of", nil)
		return err
	}, func(t *testing.T, w *cutEnv) int {
		t.Helper()
		list := must(
			w.Jobs(t.Context(), w.admin, hostler.JobFilter{Action: "unheard_of"}, hostler.Page{Limit: 1000}),
		)(t)
		return len(list.Items)
	}},
	{"asset", func(t *testing.T, w *cutEnv, i int) error {
		_, err := w.CreateAsset(
			t.Context(),
			w.admin,
			hostler.AssetInput{Name: fmt.Sprintf("asset-%d", i), Address: fmt.Sprintf("a%d.example", i)},
		)
		return err
	}, func(t *testing.T, w *cutEnv) int {
		t.Helper()
		list := must(w.Assets(t.Context(), w.admin, "", hostler.Page{Limit: 1000}))(t)
		return len(list.Items) - 1 // the host of the jobs
	}},
	{"key", func(t *testing.T, w *cutEnv, i int) error {
		_, err := w.CreateKey(
			t.Context(),
			w.admin,
			hostler.KeyInput{Name: fmt.Sprintf("key-%d", i), User: "vera", Project: "default"},
		)
		return err
	}, func(t *testing.T, w *cutEnv) int {
		t.Helper()
		n := 0
		for _, k := range must(w.Keys(t.Context(), w.admin, hostler.Page{Limit: 1000}))(t).Items {
			if k.Name != "first" && k.User == "vera" {
				n++
			}
		}
		return n
	}},
}

// A use case whose connection to PostgreSQL is reset at any message is done exactly
// once, and is not refused because of what it created itself.
func TestCutConnections(t *testing.T) {
	h, proxy := storetest.Proxied(t)
	w := &cutEnv{env: newEnv(t, h)}
	w.host = w.asset(t, hostler.AssetInput{Name: "host"}).ID
	for _, c := range creations {
		t.Run(c.name, func(t *testing.T) {
			must(w.PutQueue(t.Context(), w.admin, queueOf(c.name), hostler.QueueLimits{}))(t)
			how := []storetest.Action{storetest.ResetBefore, storetest.ResetAfter, storetest.ResetClient}
			for i := range *cuts {
				proxy.Cut(1+i*7%110, how[i%len(how)])
				if err := c.do(t, w, i); err != nil {
					t.Errorf("cut %d: %v", i, err)
				}
			}
			proxy.Decide(nil)
			if got := c.count(t, w); got != *cuts {
				t.Errorf("%d were created, want %d", got, *cuts)
			}
			t.Logf("%d connections reset so far", proxy.Resets())
		})
	}
}
