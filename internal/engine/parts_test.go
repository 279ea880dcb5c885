package engine_test

import (
	"encoding/json"
	"slices"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/flow"
	"hostler.dev/hostler/internal/store"
)

// beginSpecs stores a run of steps that are linked to each other; all work on all assets.
func (f *flowEnv) beginSpecs(specs ...flow.Spec) (id hostler.RunID) {
	f.t.Helper()
	rows := make([]store.RunStepRow, len(specs))
	for i := range specs {
		s := &specs[i]
		if s.Needs == nil && s.Undoes == "" {
			s.Needs = &[]string{}
		}
		args := s.Args
		if args == nil {
			args = json.RawMessage(`{}`)
		}
		rows[i] = store.RunStepRow{Step: s.ID, Spec: f.encode(s), State: hostler.StepPending}
		if s.Action == "" {
			continue
		}
		rows[i].Jobs = f.encode(store.StepJobs{
			Queue: "default", Action: s.Action, Args: args, OnAsset: true, Priority: 5, MaxAttempts: 1,
			OnLost: hostler.OnLostAsk, OnUnknown: hostler.OnUnknownRelease, OnRetry: hostler.OnRetryHold,
		})
		rows[i].HostSet, rows[i].Total, rows[i].Hosts = 1, len(f.assets), len(f.assets)
		if s.Follows {
			rows[i].Hosts = 0
		}
	}
	f.tx(func(tx *store.Tx) error {
		var err error
		if id, err = tx.NewRunID(true); err != nil {
			return err
		}
		return tx.InsertRun(&store.RunRow{
			ID: id, Project: f.project, Source: hostler.RunFromTemplate, Name: "t", Template: "t", Version: 1,
			Params: "{}", State: hostler.RunPending, RequesterName: "ann",
		}, rows, [][]store.RunHost{f.assets})
	})
	return id
}

func (f *flowEnv) encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(b)
}

// workWith runs ready jobs until there is none; report completes the report of each.
func (f *flowEnv) workWith(report func(l hostler.Lease, r *hostler.Report)) (jobs []hostler.Lease) {
	f.t.Helper()
	for {
		f.advance()
		leases := f.lease(f.worker, 20)
		if len(leases) == 0 {
			return jobs
		}
		jobs = append(jobs, leases...)
		reports := make([]hostler.Report, len(leases))
		for i, l := range leases {
			reports[i] = hostler.Report{LeaseRef: l.LeaseRef, Outcome: hostler.OutcomeSucceeded}
			report(l, &reports[i])
		}
		if _, err := f.engine.Report(f.t.Context(), f.worker, reports); err != nil {
			f.t.Fatal(err)
		}
	}
}

// host is the name of the host of a lease, which has only its id here.
func (f *flowEnv) host(l hostler.Lease) string {
	for _, h := range f.assets {
		if h.ID == l.Asset.ID {
			return h.Name
		}
	}
	f.t.Fatalf("the lease has no host: %+v", l.Asset)
	return ""
}

func specOf(s hostler.Step) flow.Spec { return flow.Spec{Step: s} }

func (f *flowEnv) wantSteps(id hostler.RunID, state hostler.RunState, want ...hostler.StepState) []store.RunStepRow {
	f.t.Helper()
	steps := f.wantRun(id, state)
	got := make([]hostler.StepState, len(steps))
	for i := range steps {
		got[i] = steps[i].State
	}
	if !slices.Equal(got, want) {
		f.t.Fatalf("steps %v, want %v", got, want)
	}
	return steps
}

// TestOutputsReachLaterSteps: each host sees its own value, typed; one whose value breaks
// the declared schema fails before anything later runs on it.
func TestOutputsReachLaterSteps(t *testing.T) {
	eachFlow(t, 3, func(t *testing.T, f *flowEnv) {
		probe := act("probe")
		probe.Outputs = map[string]hostler.Output{"n": {From: "free.0", Schema: json.RawMessage(`{"type":"integer","maximum":10}`)}}
		probe.Rollout = &hostler.Rollout{MaxFailures: hostler.Amount{N: 1}}
		use := specOf(act("use"))
		use.Needs, use.Late = &[]string{"probe"}, true
		use.Args = json.RawMessage(`{"n":"${{ steps.probe.outputs.n }}","text":"n=${{ steps.probe.outputs.n }}"}`)
		use.Rollout = &hostler.Rollout{MaxFailures: hostler.Amount{N: 1}}
		id := f.beginSpecs(specOf(probe), use)
		got := map[string]string{}
		f.workWith(func(l hostler.Lease, r *hostler.Report) {
			if string(l.Args) != `{}` {
				got[f.host(l)] = string(l.Args)
				return
			}
			r.Result = json.RawMessage(map[string]string{
				"h000": `{"free":[5]}`, "h001": `{"free":["7"]}`, "h002": `{"free":[11]}`,
			}[f.host(l)])
		})
		steps := f.wantSteps(id, hostler.RunSucceeded, hostler.StepSucceeded, hostler.StepSucceeded)
		if len(got) != 2 || got["h000"] != `{"n":5,"text":"n=5"}` || got["h001"] != `{"n":7,"text":"n=7"}` {
			t.Errorf("args %v", got)
		}
		if steps[0].Failed != 1 || steps[1].Failed != 1 {
			t.Errorf("the host with the wrong value: %+v", steps)
		}
		f.wantInvariants()
	})
}

// TestRollback undoes what ran, in the reverse order, on the hosts on which it ran, and
// only then runs what always runs.
func TestRollback(t *testing.T) {
	eachFlow(t, 3, func(t *testing.T, f *flowEnv) {
		undoA, undoB, tell := specOf(act("undo-a")), specOf(act("undo-b")), specOf(act("tell"))
		undoA.Undoes, undoA.Follows, undoB.Undoes, undoB.Follows = "a", true, "b", true
		tell.Always = true
		b := specOf(act("b"))
		b.Needs, b.OnFailure = &[]string{"a"}, hostler.OnFailureRollback
		b.Rollout = &hostler.Rollout{Batch: []hostler.Amount{{N: 1}}}
		for _, s := range []*flow.Spec{&undoA, &undoB, &tell, &b} {
			s.Action = "noop"
		}
		tell.Needs = &[]string{"b"}
		a := specOf(act("a"))
		id := f.beginSpecs(a, undoA, b, undoB, tell)
		n := 0
		var order []string
		f.workWith(func(l hostler.Lease, r *hostler.Report) {
			if n++; n == 4 {
				r.Outcome = hostler.OutcomeFailed
			}
			order = append(order, f.host(l))
		})
		steps := f.wantSteps(id, hostler.RunFailed, hostler.StepSucceeded, hostler.StepSucceeded, hostler.StepFailed,
			hostler.StepSucceeded, hostler.StepSucceeded)
		// 3 hosts of a, 1 of b, 1 of undo-b, 3 of undo-a, 3 of tell.
		if len(order) != 11 || steps[3].Succeeded != 1 || steps[1].Succeeded != 3 || order[3] != order[4] {
			t.Errorf("jobs %v, steps %+v", order, steps)
		}
		if steps[3].EndedAt.After(steps[1].StartedAt) {
			t.Error("a is undone before b")
		}
		f.wantInvariants()
	})
}

// TestGateBetweenWaves: the gate looks at the hosts that are done before each further wave;
// when it fails, no further wave starts.
func TestGateBetweenWaves(t *testing.T) {
	eachFlow(t, 4, func(t *testing.T, f *flowEnv) {
		a, gate := specOf(act("a")), specOf(act("a.gate"))
		a.Rollout = &hostler.Rollout{Batch: []hostler.Amount{{N: 1}}}
		a.Args, gate.GateOf, gate.Follows = json.RawMessage(`{"main":true}`), "a", true
		id := f.beginSpecs(a, gate)
		var kinds []bool
		f.workWith(func(l hostler.Lease, r *hostler.Report) {
			isGate := string(l.Args) == `{}`
			kinds = append(kinds, isGate)
			if isGate && f.host(l) == "h001" {
				r.Outcome = hostler.OutcomeFailed
			}
		})
		steps := f.wantSteps(id, hostler.RunFailed, hostler.StepFailed, hostler.StepFailed)
		if steps[0].Started != 2 || len(kinds) != 5 || !kinds[1] || kinds[2] {
			t.Errorf("jobs %v, steps %+v", kinds, steps)
		}
		f.wantInvariants()
	})
}

// TestProbeDecidesUnknownJobs: it succeeded where the work was done, failed where it was not,
// and leaves to a person what it cannot tell.
func TestProbeDecidesUnknownJobs(t *testing.T) {
	eachFlow(t, 3, func(t *testing.T, f *flowEnv) {
		a, probe := specOf(act("a")), specOf(act("a.verify"))
		a.Rollout = &hostler.Rollout{MaxFailures: hostler.Amount{N: 1}}
		probe.Rollout = &hostler.Rollout{MaxFailures: hostler.Amount{N: 100, Percent: true}}
		a.Args, probe.ProbeOf, probe.Follows = json.RawMessage(`{"main":true}`), "a", true
		id := f.beginSpecs(a, probe)
		jobs := map[string]hostler.JobID{}
		f.workWith(func(l hostler.Lease, r *hostler.Report) {
			switch {
			case string(l.Args) != `{}`:
				r.Outcome, jobs[f.host(l)] = hostler.OutcomeUnknown, l.Job
			case f.host(l) == "h001":
				r.Outcome, r.Error = hostler.OutcomeFailed, &hostler.JobError{Kind: hostler.ErrKindCommand}
			case f.host(l) == "h002":
				r.Outcome, r.Error = hostler.OutcomeFailed, &hostler.JobError{Kind: hostler.ErrKindUnreachable}
			}
		})
		f.wantRun(id, hostler.RunWaiting)
		want := map[string]hostler.State{
			"h000": hostler.StateSucceeded, "h001": hostler.StateFailed, "h002": hostler.StateUnknown,
		}
		f.tx(func(tx *store.Tx) error {
			for host, state := range want {
				j, err := tx.Job(f.project, jobs[host])
				if err != nil {
					return err
				}
				if j.State != state || state != hostler.StateUnknown && j.Error.Kind != hostler.ErrKindResolved {
					t.Errorf("the job of %s is %s, %+v, want %s", host, j.State, j.Error, state)
				}
			}
			return tx.ResolveJob(jobs["h002"], hostler.StateSucceeded, "bob", "looked at it")
		})
		f.workWith(func(hostler.Lease, *hostler.Report) { t.Error("another job") })
		f.wantRun(id, hostler.RunSucceeded)
		f.wantInvariants()
	})
}
