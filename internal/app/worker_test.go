package app_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/store"
)

// heartbeat sends a heartbeat that lists leases.
func (k worker) heartbeat(t *testing.T, hb hostler.Heartbeat) (reply hostler.HeartbeatReply) {
	t.Helper()
	hb.Worker = k.id
	k.w.tx(t, func(tx *store.Tx) (err error) {
		reply, _, err = tx.Heartbeat(hb)
		return err
	})
	return reply
}

func sessionOn(address string) hostler.HostSession {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return hostler.HostSession{
		Address:   address,
		Port:      22,
		User:      "root",
		Since:     at,
		LastUsed:  at,
		Running:   1,
		Succeeded: 3,
		Failed:    2,
	}
}

// TestSessionsAreShownToThoseWhoWorkThere lists the workers as each role, in the
// default project and in another.
func TestSessionsAreShownToThoseWhoWorkThere(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		must(w.CreateAsset(t.Context(), w.stranger, hostler.AssetInput{Name: "theirs", Address: "192.0.2.2"}))(t)
		other := w.person(t, "otto", "other", hostler.RoleOperator)
		peer := w.person(t, "paul", "other", hostler.RoleViewer)
		all := []hostler.HostSession{sessionOn("192.0.2.1"), sessionOn("192.0.2.2"), sessionOn("192.0.2.3")}
		k := w.worker(t)
		k.heartbeat(t, hostler.Heartbeat{Sessions: all, CPUPercent: 12.5, MemoryBytes: 1 << 30})
		must(
			w.RunJobs(t.Context(), other, hostler.JobRequest{Action: "change", Target: inline("192.0.2.3", "p")}, ""),
		)(t)
		for name, c := range map[string]struct {
			caller auth.Caller
			want   []hostler.HostSession
		}{
			"admin": {w.admin, all}, "operator": {w.operator, all}, "viewer": {w.viewer, nil},
			"foreign operator": {other, all[1:]}, "foreign admin": {w.stranger, all[1:]}, "foreign viewer": {peer, nil},
		} {
			got := must(w.Workers(t.Context(), c.caller))(t)
			if len(got) != 1 || got[0].CPUPercent != 12.5 || got[0].MemoryBytes != 1<<30 {
				t.Fatalf("%s sees %+v", name, got)
			}
			if len(got[0].Sessions) != len(c.want) || len(c.want) > 0 && !cmp.Equal(c.want, got[0].Sessions) {
				t.Errorf("%s sees the sessions %v", name, got[0].Sessions)
			}
		}
		k.heartbeat(t, hostler.Heartbeat{})
		if got := must(w.Workers(t.Context(), w.admin))(t); len(got[0].Sessions) != 0 || got[0].MemoryBytes != 0 {
			t.Errorf("sessions that are gone: %+v", got)
		}
		k.heartbeat(t, hostler.Heartbeat{Sessions: all})
		w.h.Advance(time.Hour)
		w.tx(t, func(tx *store.Tx) error {
			silent, err := tx.Pulses()
			if err == nil {
				_, err = tx.LoseWorkers(silent)
			}
			return err
		})
		if got := must(w.Workers(t.Context(), w.admin))(t); got[0].State != "dead" || got[0].Sessions != nil {
			t.Errorf("a dead worker keeps %+v", got)
		}
	})
}

// TestStopWorkers stops one of two workers that run jobs of each kind, and then
// one that had died.
func TestStopWorkers(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		ids := map[hostler.OnLost]hostler.JobID{}
		for _, o := range []hostler.OnLost{hostler.OnLostRetry, hostler.OnLostFail, hostler.OnLostAsk} {
			ids[o] = w.run(t, hostler.JobRequest{Action: "ping", OnLost: o}).Job.ID
		}
		k := w.worker(t)
		leases := k.lease(t, 3)
		spared := w.worker(t)
		on := w.run(t, hostler.JobRequest{Action: "ping"}).Job.ID
		leased := spared.lease(t, 1)

		stopped, n, err := w.StopWorkers(ctx, w.admin, []hostler.WorkerID{k.id})
		if err != nil || n != 3 || len(stopped) != 1 || stopped[0].ID != k.id || stopped[0].Running != 3 {
			t.Fatalf("stopped %+v, %d interrupted, %v", stopped, n, err)
		}
		for o, want := range map[hostler.OnLost]hostler.State{
			hostler.OnLostRetry: hostler.StateQueued, hostler.OnLostFail: hostler.StateFailed, hostler.OnLostAsk: hostler.StateUnknown,
		} {
			if got := must(w.Job(ctx, w.viewer, ids[o]))(t).State; got != want {
				t.Errorf("the job with on_lost %s is %s, want %s", o, got, want)
			}
		}
		if got := must(w.Job(ctx, w.viewer, on))(t).State; got != hostler.StateRunning {
			t.Errorf("the other worker's job is %s", got)
		}
		// The process is fenced: it can neither report nor go on.
		err = w.h.Store.InTx(ctx, func(tx *store.Tx) error {
			_, _, err := tx.Heartbeat(hostler.Heartbeat{Worker: k.id})
			return err
		})
		wantCode(t, err, hostler.CodeStale)
		w.tx(t, func(tx *store.Tx) error {
			acks, err := tx.Finish(
				k.id,
				[]hostler.Report{{LeaseRef: leases[0].LeaseRef, Outcome: hostler.OutcomeSucceeded}},
			)
			if hostler.CodeOf(acks[0]) != hostler.CodeStale {
				t.Errorf("its report: %v", acks[0])
			}
			return err
		})
		if got := must(w.Workers(ctx, w.admin))(t); len(got) != 1 || got[0].ID != spared.id {
			t.Errorf("listed: %+v", got)
		}
		if rows := must(w.Audit(ctx, w.admin, hostler.AuditFilter{}, hostler.Page{Limit: 1}))(t).Items; len(rows) != 1 ||
			rows[0].Verb != "worker.stop" ||
			rows[0].Object != k.id.String() {
			t.Errorf("audit: %+v", rows)
		}
		_, _, err = w.StopWorkers(ctx, w.admin, []hostler.WorkerID{spared.id, k.id})
		wantCode(t, err, hostler.CodeNotFound)
		spared.finish(t, leased, hostler.OutcomeSucceeded)

		// One whose process ended in order is not missed either.
		drained := w.worker(t)
		w.tx(t, func(tx *store.Tx) error {
			_, err := tx.RetireWorker(drained.id)
			return err
		})
		if got := must(w.Workers(ctx, w.admin))(t); len(got) != 1 || got[0].ID != spared.id {
			t.Errorf("listed: %+v", got)
		}

		w.h.Advance(time.Minute)
		w.tx(t, func(tx *store.Tx) error {
			silent, err := tx.Pulses()
			if err == nil {
				_, err = tx.LoseWorkers(silent)
			}
			return err
		})
		if stopped, n, err = w.StopWorkers(ctx, w.admin, []hostler.WorkerID{spared.id}); err != nil || n != 0 ||
			len(stopped) != 1 {
			t.Errorf("a dead worker: %v, %d, %v", stopped, n, err)
		}
		if got := must(w.Workers(ctx, w.admin))(t); len(got) != 0 {
			t.Errorf("listed: %+v", got)
		}
	})
}

// TestStopManyJobs stops a worker with more jobs than one look of the rescue takes.
func TestStopManyJobs(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		const jobs = 1100
		k := w.worker(t)
		w.tx(t, func(tx *store.Tx) error {
			specs := make([]hostler.JobSpec, jobs)
			for i := range specs {
				specs[i] = hostler.JobSpec{
					Project: w.admin.Project, Queue: "default", Action: "ping", Priority: 5,
					OnLost: hostler.OnLostFail, OnUnknown: hostler.OnUnknownHold, OnRetry: hostler.OnRetryHold,
				}
			}
			_, err := tx.Enqueue(specs)
			return err
		})
		k.lease(t, jobs)
		_, n, err := w.StopWorkers(t.Context(), w.admin, []hostler.WorkerID{k.id})
		if err != nil || n != jobs {
			t.Fatalf("%d interrupted, %v", n, err)
		}
		left := must(
			w.Jobs(
				t.Context(),
				w.viewer,
				hostler.JobFilter{States: []hostler.State{hostler.StateRunning}},
				hostler.Page{},
			),
		)(t)
		if len(left.Items) != 0 {
			t.Errorf("%d jobs run on nowhere", len(left.Items))
		}
	})
}

// TestCloseSessions: the command reaches its worker once, and no other worker.
func TestCloseSessions(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.asset(t, hostler.AssetInput{Name: "web1", Address: "192.0.2.1"})
		w.run(t, hostler.JobRequest{Action: "change", Assets: []string{"web1"}})
		w.run(t, hostler.JobRequest{Action: "change", Target: inline("sw.example", "p")})
		w.run(t, hostler.JobRequest{Action: "ping"})
		k, idle := w.worker(t), w.worker(t)
		leases := k.lease(t, 10)
		held := hostler.Heartbeat{}
		for _, l := range leases {
			held.Held = append(held.Held, l.LeaseRef)
		}
		if n := must(w.CloseSessions(ctx, w.admin, k.id, []string{"192.0.2.1", "SW.Example", "192.0.2.1", "192.0.2.77"}))(t); n != 2 {
			t.Errorf("%d interrupted, want 2", n)
		}
		if n := must(w.CloseSessions(ctx, w.admin, idle.id, []string{"192.0.2.1"}))(t); n != 0 {
			t.Errorf("%d interrupted on the idle worker", n)
		}
		got := k.heartbeat(t, held).CloseHosts
		slices.Sort(got)
		if diff := cmp.Diff([]string{"192.0.2.1", "192.0.2.77", "sw.example"}, got); diff != "" {
			t.Errorf("commands (-want +got):\n%s", diff)
		}
		if again := k.heartbeat(t, held).CloseHosts; len(again) != 0 {
			t.Errorf("requested again: %v", again)
		}
		for name, addresses := range map[string][]string{"none": nil, "bad": {"-o"}, "many": make([]string, 1001)} {
			_, err := w.CloseSessions(ctx, w.admin, k.id, addresses)
			wantCode(t, err, hostler.CodeInvalid)
			if err == nil {
				t.Error(name)
			}
		}
		_, err := w.CloseSessions(ctx, w.admin, k.id+1000, []string{"192.0.2.1"})
		wantCode(t, err, hostler.CodeNotFound)
		_, err = w.CloseSessions(ctx, w.operator, k.id, []string{"192.0.2.1"})
		wantCode(t, err, hostler.CodeForbidden)

		// An order to a worker that died meanwhile does not stay.
		must(w.stopOne(ctx, w.admin, idle.id))(t)
		w.tx(t, func(tx *store.Tx) error { return tx.DeleteDeadWorkers() })
		w.tx(t, func(tx *store.Tx) error {
			n, err := tx.Exec(`DELETE FROM worker_order`)
			if n != 0 {
				return fmt.Errorf("%d commands without a worker", n)
			}
			return err
		})
	})
}

// stopOne stops one worker.
func (w *env) stopOne(ctx context.Context, c auth.Caller, id hostler.WorkerID) (int, error) {
	_, n, err := w.StopWorkers(ctx, c, []hostler.WorkerID{id})
	return n, err
}
