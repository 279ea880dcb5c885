package app_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

func TestFanOutIsTheUnionOfNamesIdsAndLabels(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		web := map[string]string{"role": "web", "site": "a"}
		w.asset(t, hostler.AssetInput{Name: "web1", Labels: web})
		w.asset(t, hostler.AssetInput{Name: "web2", Labels: web})
		w.asset(t, hostler.AssetInput{Name: "web3", Labels: map[string]string{"role": "web", "site": "b"}})
		db := w.asset(t, hostler.AssetInput{Name: "db1"})
		w.asset(t, hostler.AssetInput{Name: "db2"})

		made := w.run(t, hostler.JobRequest{
			Action: "check_port", Labels: web, Assets: []string{"web1", db.ID.String(), "db1"},
		})
		if made.Count != 3 || len(made.Jobs) != 3 || made.Job != nil {
			t.Fatalf("made %+v", made)
		}
		var names []string
		for _, j := range must(w.Jobs(t.Context(), w.viewer, hostler.JobFilter{Run: made.Run}, hostler.Page{}))(t).Items {
			names = append(names, j.AssetName)
		}
		slices.Sort(names)
		if diff := cmp.Diff([]string{"db1", "web1", "web2"}, names); diff != "" {
			t.Errorf("assets (-want +got):\n%s", diff)
		}
		want := hostler.RunSummary{Run: made.Run, Total: 3, States: map[hostler.State]int{hostler.StateQueued: 3}}
		if diff := cmp.Diff(want, must(w.Run(t.Context(), w.viewer, made.Run))(t).RunSummary); diff != "" {
			t.Errorf("summary (-want +got):\n%s", diff)
		}
	})
}

func TestMissingAssetsAreAllNamedAndNothingIsMade(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		w.asset(t, hostler.AssetInput{Name: "web1"})
		ghost := hostler.AssetID(12345)
		_, err := w.RunJobs(t.Context(), w.operator, hostler.JobRequest{
			Action: "check_port", Assets: []string{"web1", "web2", ghost.String(), "web3"},
		}, "")
		wantCode(t, err, hostler.CodeNotFound)
		for _, name := range []string{"web2", "web3", ghost.String()} {
			if !strings.Contains(err.Error(), name) {
				t.Errorf("%v does not name %s", err, name)
			}
		}
		_, err = w.RunJobs(
			t.Context(),
			w.operator,
			hostler.JobRequest{Action: "check_port", Labels: map[string]string{"no": "such"}},
			"",
		)
		wantCode(t, err, hostler.CodeNotFound)
		if l := must(w.Jobs(t.Context(), w.viewer, hostler.JobFilter{}, hostler.Page{}))(t); len(l.Items) != 0 {
			t.Errorf("%d jobs were made", len(l.Items))
		}
	})
}

func TestEveryFieldAtFaultIsNamed(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		past := time.Date(1800, 1, 1, 0, 0, 0, 0, time.UTC)
		tests := map[string]struct {
			req  hostler.JobRequest
			want []string
		}{
			"many at once": {
				hostler.JobRequest{
					Action: "check_port", Assets: []string{"a", "", "b\x00"}, Args: json.RawMessage(`{"port":"x"}`),
					Queue: "-q", Lane: "a\nb", Priority: 10, MaxAttempts: 101, Backoff: hostler.Backoff{Kind: "odd", Base: -1, Max: hostler.Duration(48 * time.Hour)},
					Timeout: hostler.Duration(
						30 * day,
					), Delay: 1, RunAt: &past, TTL: -1, OnLost: "x", OnUnknown: "x", OnRetry: "x",
					Concurrency: &hostler.Concurrency{}, Labels: map[string]string{"bad key": "v"},
				},
				strings.Fields(
					`args.port assets[1] assets[2] queue lane priority max_attempts backoff.kind backoff.base backoff.max
					timeout delay run_at ttl on_lost on_unknown on_retry concurrency concurrency.key concurrency.limit labels.bad&key`,
				),
			},
			"unknown action":    {hostler.JobRequest{Action: "nope"}, []string{"action"}},
			"switched off":      {hostler.JobRequest{Action: "off", Assets: []string{"a"}}, []string{"action"}},
			"no asset":          {hostler.JobRequest{Action: "check_port"}, []string{"assets"}},
			"no asset for lane": {hostler.JobRequest{Action: "ping", Lane: "asset"}, []string{"lane"}},
			"lane and limit": {
				hostler.JobRequest{Action: "ping", Lane: "x", Concurrency: &hostler.Concurrency{Key: "k", Limit: 2}},
				[]string{"concurrency"},
			},
			"unknown arg": {
				hostler.JobRequest{Action: "ping", Args: json.RawMessage(`{"prot":1}`)},
				[]string{"args.prot"},
			},
			"args are no object": {
				hostler.JobRequest{Action: "ping", Args: json.RawMessage(`[1]`)},
				[]string{"args"},
			},
			"args are no JSON": {hostler.JobRequest{Action: "ping", Args: json.RawMessage(`{`)}, []string{"args"}},
			"args are no text": {
				hostler.JobRequest{Action: "ping", Args: json.RawMessage("{\"a\":\"\xff\"}")},
				[]string{"args"},
			},
			"unknown queue": {hostler.JobRequest{Action: "ping", Queue: "nope"}, []string{"queue"}},
			"unknown credential": {
				hostler.JobRequest{
					Action: "change",
					Assets: []string{"web1"},
					Args:   json.RawMessage(`{"sudo":"nope"}`),
				},
				[]string{"args"},
			},
		}
		w.asset(t, hostler.AssetInput{Name: "web1"})
		for name, tt := range tests {
			_, err := w.RunJobs(t.Context(), w.operator, tt.req, "")
			wantCode(t, err, hostler.CodeInvalid)
			got := paths(err)
			want := strings.Fields(strings.Join(tt.want, " "))
			for i := range want {
				want[i] = strings.ReplaceAll(want[i], "&", " ")
			}
			slices.Sort(got)
			slices.Sort(want)
			if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
				t.Errorf("%s: fields (-want +got):\n%s", name, diff)
			}
		}
	})
}

func TestDefaultsOfAJob(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		w.asset(t, hostler.AssetInput{Name: "web1", Address: "192.0.2.1"})
		one := []string{"web1"}
		later := w.h.Now().Add(time.Hour)
		tests := map[string]struct {
			req  hostler.JobRequest
			lane string
			lim  int
			lost hostler.OnLost
			due  time.Duration
			ends time.Duration
		}{
			"looks": {hostler.JobRequest{Action: "port", Assets: one}, "", 0, hostler.OnLostRetry, 0, 0},
			"changes": {
				hostler.JobRequest{Action: "change", Assets: one},
				"192.0.2.1",
				1,
				hostler.OnLostAsk,
				0,
				0,
			},
			"asked for": {
				hostler.JobRequest{Action: "port", Assets: one, Lane: "asset", OnLost: "fail"},
				"192.0.2.1",
				1,
				hostler.OnLostFail,
				0,
				0,
			},
			"asked not to": {
				hostler.JobRequest{Action: "change", Assets: one, Lane: "none"},
				"",
				0,
				hostler.OnLostAsk,
				0,
				0,
			},
			"own": {
				hostler.JobRequest{Action: "ping", Lane: "deploy"},
				"deploy",
				1,
				hostler.OnLostRetry,
				0,
				0,
			},
			"limited": {
				hostler.JobRequest{
					Action:      "change",
					Assets:      one,
					Concurrency: &hostler.Concurrency{Key: "isp", Limit: 7},
				},
				"isp",
				7,
				hostler.OnLostAsk,
				0,
				0,
			},
			"delayed": {
				hostler.JobRequest{
					Action: "ping",
					Delay:  hostler.Duration(time.Minute),
					TTL:    hostler.Duration(time.Minute),
				},
				"",
				0,
				hostler.OnLostRetry,
				time.Minute,
				2 * time.Minute,
			},
			"at a time": {
				hostler.JobRequest{Action: "ping", RunAt: &later, TTL: hostler.Duration(time.Minute)},
				"",
				0,
				hostler.OnLostRetry,
				time.Hour,
				time.Hour + time.Minute,
			},
		}
		for name, tt := range tests {
			j := w.run(t, tt.req).Job
			if j == nil {
				t.Fatalf("%s: the job is not in the answer", name)
			}
			if j.Lane != tt.lane || j.LaneLimit != tt.lim || j.OnLost != tt.lost ||
				since(w.h.Now(), j.RunAt) != tt.due ||
				since(w.h.Now(), j.ExpiresAt) != tt.ends {
				t.Errorf(
					"%s: lane %q×%d, on_lost %s, due in %s, ends in %s",
					name,
					j.Lane,
					j.LaneLimit,
					j.OnLost,
					since(w.h.Now(), j.RunAt),
					since(w.h.Now(), j.ExpiresAt),
				)
			}
			if j.Queue != "default" || j.Priority != 5 || j.MaxAttempts != 1 || j.TimeoutS != 300 || j.CreatedBy != "olga" ||
				j.OnUnknown != hostler.OnUnknownHold ||
				j.OnRetry != hostler.OnRetryHold ||
				string(j.Args) != "{}" {
				t.Errorf("%s: %+v", name, j)
			}
		}
	})
}

func since(now time.Time, t *time.Time) time.Duration {
	if t == nil {
		return 0
	}
	return t.Sub(now)
}

// TestOneRunPerIdempotencyKey repeats one request a hundred times at once.
func TestOneRunPerIdempotencyKey(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.asset(t, hostler.AssetInput{Name: "web1"})
		w.asset(t, hostler.AssetInput{Name: "web2"})
		req := hostler.JobRequest{Action: "check_port", Assets: []string{"web1", "web2"}}
		answers := make([]string, 100)
		var wg sync.WaitGroup
		for i := range answers {
			wg.Go(func() {
				made, err := w.RunJobs(ctx, w.operator, req, "again")
				answers[i] = fmt.Sprint(made, err)
			})
		}
		wg.Wait()
		if got := slices.Compact(slices.Sorted(slices.Values(answers))); len(got) != 1 ||
			!strings.HasSuffix(got[0], "<nil>") {
			t.Errorf("%d answers: %q", len(got), got)
		}
		count := func() int {
			return len(must(w.Jobs(ctx, w.viewer, hostler.JobFilter{}, hostler.Page{}))(t).Items)
		}
		if n := count(); n != 2 {
			t.Errorf("%d jobs, want 2", n)
		}

		other := req
		other.Priority = 1
		_, err := w.RunJobs(ctx, w.operator, other, "again")
		wantCode(t, err, hostler.CodeConflict)
		_, err = w.RunJobs(ctx, w.operator, req, "bad\nkey")
		wantCode(t, err, hostler.CodeInvalid)

		// The same key in another project is another key.
		must(w.RunJobs(ctx, w.stranger, hostler.JobRequest{Action: "ping"}, "again"))(t)

		// A request that failed left nothing behind.
		_, err = w.RunJobs(
			ctx,
			w.operator,
			hostler.JobRequest{Action: "check_port", Assets: []string{"web9"}},
			"fails",
		)
		wantCode(t, err, hostler.CodeNotFound)
		must(w.RunJobs(ctx, w.operator, hostler.JobRequest{Action: "ping"}, "fails"))(t)

		w.h.Advance(store.IdemKeep + time.Second)
		must(w.RunJobs(ctx, w.operator, other, "again"))(t)
		w.tx(t, func(tx *store.Tx) error { _, err := tx.DeleteIdem(100); return err })
		if n := count(); n != 5 {
			t.Errorf("%d jobs, want 5", n)
		}
	})
}

func TestAFullQueueMakesNothing(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		depth := 2
		must(w.PutQueue(t.Context(), w.admin, "small", hostler.QueueLimits{MaxDepth: &depth}))(t)
		for i := range 3 {
			w.asset(t, hostler.AssetInput{Name: fmt.Sprintf("web%d", i), Labels: map[string]string{"role": "web"}})
		}
		_, err := w.RunJobs(t.Context(), w.operator, hostler.JobRequest{
			Action: "check_port", Queue: "small", Labels: map[string]string{"role": "web"},
		}, "k")
		wantCode(t, err, hostler.CodeQueueFull)
		if l := must(w.Jobs(t.Context(), w.viewer, hostler.JobFilter{}, hostler.Page{}))(t); len(l.Items) != 0 {
			t.Errorf("%d jobs were made", len(l.Items))
		}
	})
}

func TestLargeFanOut(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		const n = 1300 // more than two chunks, and more than the answer names
		w.tx(t, func(tx *store.Tx) error {
			for i := range n {
				name := fmt.Sprintf("host%04d", i)
				_, err := tx.InsertAsset(store.AssetRow{ProjectID: w.admin.Project, Asset: hostler.Asset{
					Name: name, Address: name, Kind: "host", HostKey: "strict", DeviceKey: name, Labels: map[string]string{"all": "yes"},
				}})
				if err != nil {
					return err
				}
			}
			return nil
		})
		made := w.run(t, hostler.JobRequest{Action: "change", Labels: map[string]string{"all": "yes"}})
		if made.Count != n || len(made.Jobs) != 1000 {
			t.Errorf("%d jobs, %d named", made.Count, len(made.Jobs))
		}
		if sum := must(w.Run(t.Context(), w.viewer, made.Run))(t); sum.Total != n {
			t.Errorf("the run has %d jobs", sum.Total)
		}
	})
}
