package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/engine"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

// flowEnv runs flows over assets without a network.
type flowEnv struct {
	*env
	h      *storetest.Harness
	worker hostler.WorkerID
	assets []store.RunHost
}

func eachFlow(t *testing.T, hosts int, fn func(t *testing.T, f *flowEnv)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		e := newEnv(t, h.Store, func(c *engine.Config) {
			c.Now = h.Now
			c.Plan = func(context.Context, store.ApprovalRow) (*store.ApprovalPlan, error) {
				return &store.ApprovalPlan{Digest: "d", Text: []byte(`{}`)}, nil
			}
		})
		e.prepare("default")
		f := &flowEnv{env: e, h: h, worker: e.register()}
		e.tx(func(tx *store.Tx) error {
			f.assets = nil
			for i := range hosts {
				name := fmt.Sprintf("h%03d", i)
				row := store.AssetRow{ProjectID: e.project, Asset: hostler.Asset{
					Name: name, Address: name, Kind: "host", DeviceKey: name, HostKey: "accept-new",
				}}
				id, err := tx.InsertAsset(row)
				if err != nil {
					return err
				}
				f.assets = append(f.assets, store.RunHost{ID: id, Name: name})
			}
			return nil
		})
		fn(t, f)
	})
}

// begin stores a run of steps, which all work on all assets.
func (f *flowEnv) begin(steps ...hostler.Step) hostler.RunID {
	f.t.Helper()
	return f.beginFrom(hostler.RunFromTemplate, steps...)
}

func (f *flowEnv) beginFrom(source hostler.RunSource, steps ...hostler.Step) (id hostler.RunID) {
	f.t.Helper()
	jobs, err := json.Marshal(store.StepJobs{
		Queue: "default", Action: "noop", Args: json.RawMessage(`{}`), OnAsset: true, AssetLane: true, Priority: 5,
		MaxAttempts: 1, OnLost: hostler.OnLostAsk, OnUnknown: hostler.OnUnknownRelease, OnRetry: hostler.OnRetryHold,
	})
	if err != nil {
		f.t.Fatal(err)
	}
	rows := make([]store.RunStepRow, len(steps))
	for i, s := range steps {
		spec, err := json.Marshal(s)
		if err != nil {
			f.t.Fatal(err)
		}
		rows[i] = store.RunStepRow{Step: s.ID, Spec: string(spec), State: hostler.StepPending}
		if s.Action != "" {
			rows[i].Jobs, rows[i].HostSet = string(jobs), 1
			rows[i].Total, rows[i].Hosts = len(f.assets), len(f.assets)
			if s.Rollout != nil {
				rows[i].Parallel = s.Rollout.Parallel
			}
		}
	}
	f.tx(func(tx *store.Tx) error {
		var err error
		if id, err = tx.NewRunID(true); err != nil {
			return err
		}
		return tx.InsertRun(&store.RunRow{
			ID: id, Project: f.project, Source: source, Name: "t", Template: "t", Version: 1,
			Params: "{}", State: hostler.RunPending, RequesterName: "ann",
		}, rows, [][]store.RunHost{f.assets})
	})
	return id
}

// advance advances all runs as far as they go.
func (f *flowEnv) advance() {
	f.t.Helper()
	if _, err := f.engine.RunsOnce(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
}

// work runs ready jobs until there is none; end decides how each ends.
func (f *flowEnv) work(end func(l hostler.Lease) hostler.Outcome) (jobs int) {
	f.t.Helper()
	for {
		f.advance()
		leases, err := f.engine.Lease(f.t.Context(), hostler.LeaseRequest{Worker: f.worker, Slots: 10})
		if err != nil {
			f.t.Fatal(err)
		}
		if len(leases) == 0 {
			return jobs
		}
		reports := make([]hostler.Report, len(leases))
		for i, l := range leases {
			reports[i] = hostler.Report{LeaseRef: l.LeaseRef, Outcome: end(l)}
		}
		acks, err := f.engine.Report(f.t.Context(), f.worker, reports)
		for _, ack := range append(acks, err) {
			if ack != nil {
				f.t.Fatal(ack)
			}
		}
		jobs += len(leases)
	}
}

func succeedAll(hostler.Lease) hostler.Outcome { return hostler.OutcomeSucceeded }

// state returns the state of a run and of its steps.
func (f *flowEnv) state(id hostler.RunID) (run store.RunRow, steps []store.RunStepRow) {
	f.t.Helper()
	f.tx(func(tx *store.Tx) error {
		r, err := tx.Run(f.project, id)
		if err != nil {
			return err
		}
		run = *r
		steps, err = tx.RunSteps(id)
		return err
	})
	return run, steps
}

func (f *flowEnv) wantRun(id hostler.RunID, want hostler.RunState) []store.RunStepRow {
	f.t.Helper()
	run, steps := f.state(id)
	if run.State != want {
		f.t.Fatalf("run is %s, want %s; steps %+v", run.State, want, steps)
	}
	return steps
}

// decide approves or rejects what waits.
func (f *flowEnv) decide(to hostler.ApprovalState) {
	f.t.Helper()
	f.tx(func(tx *store.Tx) error {
		open, err := tx.Approvals(f.project, hostler.ApprovalWaiting, 0, 0, 10)
		if err != nil || len(open) != 1 {
			return fmt.Errorf("%d approvals wait, %w", len(open), err)
		}
		return tx.EndApproval(&open[0], to)
	})
}

func act(id string) hostler.Step { return hostler.Step{ID: id, Action: "noop"} }

var qa = hostler.Step{ID: "qa", Approval: &hostler.ApprovalStep{Title: "ok?"}}

// TestRunWithApproval follows waves, an approval and the step behind it.
func TestRunWithApproval(t *testing.T) {
	eachFlow(t, 7, func(t *testing.T, f *flowEnv) {
		stop := act("stop")
		stop.Rollout = &hostler.Rollout{
			Batch: []hostler.Amount{{N: 1}, {N: 100, Percent: true}}, PauseBetween: hostler.Duration(time.Minute),
		}
		id := f.begin(stop, qa, act("open"))
		if n := f.work(succeedAll); n != 1 {
			t.Fatalf("the canary has %d jobs", n)
		}
		f.wantRun(id, hostler.RunRunning)
		f.h.Advance(time.Minute)
		if n := f.work(succeedAll); n != 6 {
			t.Fatalf("the second wave has %d jobs", n)
		}
		f.wantRun(id, hostler.RunWaiting)
		f.decide(hostler.ApprovalApproved)
		if n := f.work(succeedAll); n != 7 {
			t.Fatalf("%d jobs behind the approval", n)
		}
		for _, s := range f.wantRun(id, hostler.RunSucceeded) {
			if s.State != hostler.StepSucceeded || s.EndedAt.IsZero() {
				t.Errorf("step %s is %s", s.Step, s.State)
			}
		}
		f.wantInvariants()
	})
}

func (f *flowEnv) wantInvariants() {
	f.t.Helper()
	f.tx(func(tx *store.Tx) error {
		broken, err := tx.CheckInvariants()
		for _, b := range broken {
			f.t.Error(b)
		}
		return err
	})
}

// TestParallelRollout starts the next host whenever one has ended, and fails an ad-hoc run
// one of whose hosts failed, after all others.
func TestParallelRollout(t *testing.T) {
	eachFlow(t, 7, func(t *testing.T, f *flowEnv) {
		step := act("run")
		step.Rollout = &hostler.Rollout{Parallel: 2, MaxFailures: hostler.Amount{N: 100, Percent: true}}
		id := f.beginFrom(hostler.RunAdHoc, step)
		open, most, n := 0, 0, 0
		jobs := f.work(func(l hostler.Lease) hostler.Outcome {
			_, steps := f.state(id)
			open = steps[0].Started - steps[0].Succeeded - steps[0].Failed
			most = max(most, open)
			n++
			if n == 3 {
				return hostler.OutcomeFailed
			}
			return hostler.OutcomeSucceeded
		})
		if jobs != 7 || most != 2 {
			t.Errorf("%d jobs, %d at once; want 7, and 2", jobs, most)
		}
		f.wantRun(id, hostler.RunFailed)
		f.wantInvariants()
	})
}

// TestRejectedRunsAlwaysSteps: a rejection ends the run, and steps marked always still run.
func TestRejectedRunsAlwaysSteps(t *testing.T) {
	eachFlow(t, 2, func(t *testing.T, f *flowEnv) {
		clean := act("clean")
		clean.Always = true
		id := f.begin(qa, act("open"), clean)
		f.advance()
		f.decide(hostler.ApprovalRejected)
		if n := f.work(succeedAll); n != 2 {
			t.Errorf("%d jobs ran, want those of the step that always runs", n)
		}
		f.wantRun(id, hostler.RunRejected)
	})
}

// TestBudgetWithdrawsTheRest: the first failure beyond the budget cancels what waits.
func TestBudgetWithdrawsTheRest(t *testing.T) {
	eachFlow(t, 40, func(t *testing.T, f *flowEnv) {
		id := f.begin(act("a"), act("b"))
		n := f.work(func(hostler.Lease) hostler.Outcome { return hostler.OutcomeFailed })
		steps := f.wantRun(id, hostler.RunFailed)
		if n > 20 || steps[0].Failed != n || steps[0].Cancelled != 40-n || steps[1].State != hostler.StepCancelled {
			t.Errorf("%d jobs ran; steps %+v", n, steps)
		}
		f.wantInvariants()
	})
}

// TestUnknownJobHoldsTheRun until a person resolves it.
func TestUnknownJobHoldsTheRun(t *testing.T) {
	eachFlow(t, 3, func(t *testing.T, f *flowEnv) {
		id := f.begin(act("a"), act("b"))
		var lost hostler.JobID
		f.work(func(l hostler.Lease) hostler.Outcome {
			if lost == 0 {
				lost = l.Job
				return hostler.OutcomeUnknown
			}
			return hostler.OutcomeSucceeded
		})
		f.wantRun(id, hostler.RunWaiting)
		f.tx(func(tx *store.Tx) error { return tx.ResolveJob(lost, hostler.StateSucceeded, "ann", "") })
		f.work(succeedAll)
		f.wantRun(id, hostler.RunSucceeded)
		f.wantInvariants()
	})
}

// TestMissingAssetFails: a host that was deleted counts as failed, and holds nothing.
func TestMissingAssetFails(t *testing.T) {
	eachFlow(t, 3, func(t *testing.T, f *flowEnv) {
		a := act("a")
		a.Rollout = &hostler.Rollout{MaxFailures: hostler.Amount{N: 1}}
		id := f.begin(a)
		f.tx(func(tx *store.Tx) error {
			_, err := tx.Exec(`DELETE FROM asset WHERE id = ?`, f.assets[1].ID)
			return err
		})
		f.work(succeedAll)
		if steps := f.wantRun(id, hostler.RunSucceeded); steps[0].Succeeded != 2 || steps[0].Failed != 1 {
			t.Errorf("steps %+v", steps)
		}
	})
}

// TestTwoServersAdvanceTheSameRuns: each host of each step gets one job.
func TestTwoServersAdvanceTheSameRuns(t *testing.T) {
	eachFlow(t, 60, func(t *testing.T, f *flowEnv) {
		second := newEnv(t, f.h.Store, func(c *engine.Config) { c.Now = f.h.Now })
		small := act("a")
		small.Rollout = &hostler.Rollout{Batch: []hostler.Amount{{N: 7}}}
		id := f.begin(small, act("b"), act("c"))
		total := 0
		for range 100 {
			var wg sync.WaitGroup
			for _, e := range []*env{f.env, second} {
				wg.Go(func() {
					if _, err := e.engine.RunsOnce(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if run, _ := f.state(id); run.State.Ended() {
				break
			}
			total += f.work(succeedAll)
		}
		f.wantRun(id, hostler.RunSucceeded)
		if total != 180 {
			t.Errorf("%d jobs, want 180", total)
		}
		f.wantInvariants()
	})
}

// TestTerminated: what waits is cancelled, what runs is asked to stop, and the run ends
// when it has.
func TestTerminated(t *testing.T) {
	eachFlow(t, 30, func(t *testing.T, f *flowEnv) {
		id := f.begin(act("a"), act("b"))
		f.advance()
		leases := f.lease(f.worker, 2)
		f.tx(func(tx *store.Tx) error {
			r, err := tx.LockRun(id)
			if err != nil {
				return err
			}
			r.Stop = hostler.RunCancelled
			if err := tx.SaveRun(r); err != nil {
				return err
			}
			return tx.WakeRuns(id)
		})
		f.advance()
		f.wantRun(id, hostler.RunRunning)
		f.tx(func(tx *store.Tx) error {
			asked, err := tx.CancelRequested([]hostler.JobID{leases[0].Job, leases[1].Job})
			if len(asked) != 2 {
				t.Errorf("%d workers were asked to stop", len(asked))
			}
			return err
		})
		for _, l := range leases {
			_, err := f.engine.Report(t.Context(), f.worker, []hostler.Report{
				{LeaseRef: l.LeaseRef, Outcome: hostler.OutcomeCancelled},
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		f.advance()
		f.wantRun(id, hostler.RunCancelled)
		f.wantInvariants()
	})
}

// TestEndedRunsAreDeleted after the retention, with all of their rows.
func TestEndedRunsAreDeleted(t *testing.T) {
	eachFlow(t, 5, func(t *testing.T, f *flowEnv) {
		id := f.begin(act("a"), qa)
		f.work(succeedAll)
		f.decide(hostler.ApprovalApproved)
		f.work(succeedAll)
		f.wantRun(id, hostler.RunSucceeded)
		f.h.Advance(49 * time.Hour)
		if err := f.engine.UpkeepOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.tx(func(tx *store.Tx) error {
			for _, table := range []string{"run", "run_step", "run_host", "run_target", "run_wake", "approval"} {
				n, err := tx.Exec(`DELETE FROM ` + table)
				if err != nil || n != 0 {
					t.Errorf("%d rows are left in %s, %v", n, table, err)
				}
			}
			return nil
		})
	})
}

// TestRunWithoutItsQueue takes the queue away from a run, and gives it back: the run waits,
// and others go on.
func TestRunWithoutItsQueue(t *testing.T) {
	eachFlow(t, 1, func(t *testing.T, f *flowEnv) {
		grant := func(to ...string) {
			f.tx(func(tx *store.Tx) error {
				var ids []hostler.ProjectID
				for _, name := range to {
					p, err := tx.InsertProject(name)
					if err != nil {
						return err
					}
					ids = append(ids, p.ID)
				}
				return tx.SetGrants("default", ids)
			})
		}
		grant("another")
		id := f.begin(act("one"))
		f.advance()
		if n := f.work(succeedAll); n != 0 {
			t.Errorf("%d jobs in a queue of another project", n)
		}
		f.wantRun(id, hostler.RunPending)
		grant()
		f.h.Advance(time.Minute)
		f.advance()
		f.work(succeedAll)
		f.wantRun(id, hostler.RunSucceeded)
	})
}

// TestARunWaitsUntilItsTime: a run that a calendar lets wait starts nothing before.
func TestARunWaitsUntilItsTime(t *testing.T) {
	eachFlow(t, 1, func(t *testing.T, f *flowEnv) {
		id := f.begin(hostler.Step{ID: "one", Action: "noop"})
		f.tx(func(tx *store.Tx) error {
			r, err := tx.LockRun(id)
			if err != nil {
				return err
			}
			r.StartAt = tx.Now().Add(time.Hour)
			return tx.SaveRun(r)
		})
		f.h.Advance(59 * time.Minute)
		if n := f.work(succeedAll); n != 0 {
			t.Errorf("%d jobs began too early", n)
		}
		f.h.Advance(2 * time.Minute)
		if n := f.work(succeedAll); n != 1 {
			t.Errorf("%d jobs began at its time", n)
		}
	})
}
