package flow_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/flow"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// world plays the jobs, people and timers of a run.
type world struct {
	run       flow.Run
	now       time.Time
	asked     map[int]bool
	perStep   []int // jobs that were created
	condition map[int]bool
	probed    map[int]int
}

// advance calls Next until nothing more happens by itself, and checks every state.
func (w *world) advance(t interface{ Fatalf(string, ...any) }) {
	for {
		before := w.run
		next, effects, more := flow.Next(w.run, flow.Clock{
			Now: w.now, Jobs: 3,
			Holds: func(_ *flow.Run, i int) (bool, error) { return w.condition[i], nil },
			Ran:   func(i int) int { return w.ran(i) },
		})
		w.checkOrder(t, before, next)
		budget := 0
		for _, e := range effects {
			switch e.Kind {
			case flow.Again:
				w.perStep[e.Step] = 0
				if owner := next.Steps[e.Step].PartOf; owner > 0 && next.Steps[owner-1].Probe == e.Step+1 {
					w.probed[owner-1] = next.Steps[owner-1].Unknown
					next.Steps[owner-1].Unprobed = 0
				}
			case flow.Enqueue:
				budget += e.N
				w.perStep[e.Step] += e.N
				s := next.Steps[e.Step]
				if s.PartOf == 0 && before.Steps[e.Step].Failed+before.Steps[e.Step].Cancelled > budgetOf(s) {
					t.Fatalf("step %d starts jobs after its budget was used up", e.Step)
				}
			case flow.Ask:
				w.asked[e.Step] = true
			case flow.Close:
				delete(w.asked, e.Step)
			case flow.Withdraw, flow.Cancel, flow.Notify:
			}
		}
		if budget > 3 {
			t.Fatalf("one call creates %d jobs", budget)
		}
		w.run = next
		if !more {
			return
		}
	}
}

func budgetOf(s flow.Step) int {
	if s.Spec.Rollout == nil {
		return 0
	}
	return s.Spec.Rollout.MaxFailures.Of(s.Hosts + s.Kept)
}

func (w *world) checkOrder(t interface{ Fatalf(string, ...any) }, before, next flow.Run) {
	for i := range next.Steps {
		s := &next.Steps[i]
		if before.Steps[i].State.Ended() && s.PartOf == 0 && s.State != before.Steps[i].State {
			t.Fatalf("step %d went from %s to %s", i, before.Steps[i].State, s.State)
		}
		if s.Started > s.Hosts {
			t.Fatalf("step %d started %d of %d hosts", i, s.Started, s.Hosts)
		}
		begun := s.State == hostler.StepRunning || s.State == hostler.StepWaiting || s.Started > 0
		w.checkParts(t, before, next, i, begun)
		for _, n := range s.Needs {
			if begun && !next.Steps[n].State.Ended() {
				t.Fatalf("step %d began before step %d ended", i, n)
			}
		}
	}
}

// ran is how many hosts a step has that undoes another.
func (w *world) ran(i int) int {
	target := &w.run.Steps[w.run.Steps[i].Undoes-1]
	return target.Started + target.Kept
}

// checkParts checks what steps do that belong to others.
func (w *world) checkParts(t interface{ Fatalf(string, ...any) }, before, next flow.Run, i int, begun bool) {
	s := &next.Steps[i]
	if begun && s.In > 0 && next.Steps[s.In-1].State == hostler.StepPending {
		t.Fatalf("step %d began before its flow", i)
	}
	if s.Undoes > 0 && begun && before.Steps[i].State == hostler.StepPending {
		if next.Stop == "" && s.In == 0 {
			t.Fatalf("step %d undoes something in a run that goes on", i)
		}
		for j := range next.Steps {
			o := &next.Steps[j]
			if o.In == s.In && o.Undoes == 0 && o.PartOf == 0 && o.State != hostler.StepPending && !o.State.Ended() {
				t.Fatalf("step %d undoes something while step %d runs", i, j)
			}
		}
	}
	if g := s.Gate; g > 0 && s.Started > before.Steps[i].Started && s.Started > s.Gated && s.Gated > 0 &&
		s.Gated == before.Steps[i].Started && next.Steps[g-1].State != hostler.StepSucceeded {
		t.Fatalf("step %d went through a closed gate", i)
	}
}

// playable are the steps in which something may happen.
func (w *world) playable() []int {
	var out []int
	for i := range w.run.Steps {
		s := &w.run.Steps[i]
		open := s.Started - s.Succeeded - s.Failed - s.Cancelled
		if open > 0 && !s.State.Ended() || w.asked[i] && s.State == hostler.StepWaiting {
			out = append(out, i)
		}
	}
	return out
}

// play lets something happen in a step.
func (w *world) play(rt *rapid.T, i int) {
	s := &w.run.Steps[i]
	if s.Spec.Approval != nil {
		s.Decision = rapid.SampledFrom([]hostler.RunState{hostler.RunSucceeded, hostler.RunRejected}).Draw(rt, "decision")
		return
	}
	open := s.Started - s.Succeeded - s.Failed - s.Cancelled
	n := rapid.IntRange(1, open).Draw(rt, "jobs")
	switch rapid.IntRange(0, 5).Draw(rt, "outcome") {
	case 0:
		s.Failed += n
		s.Unknown = min(s.Unknown, open-n)
	case 1:
		s.Cancelled += n
		s.Unknown = min(s.Unknown, open-n)
	case 2:
		was := s.Unknown
		s.Unknown = min(open, s.Unknown+n)
		s.Unprobed += s.Unknown - was
	default:
		s.Succeeded += n
		s.Unknown = min(s.Unknown, open-n)
	}
	s.Unprobed = min(s.Unprobed, s.Unknown)
}

func (w *world) genStep(rt *rapid.T, i int) flow.Step {
	spec := &hostler.Step{ID: fmt.Sprintf("s%d", i), Always: rapid.IntRange(0, 5).Draw(rt, "always") == 0}
	s := flow.Step{Spec: spec, State: hostler.StepPending}
	var flows, peers []int
	for n := range w.run.Steps {
		if o := &w.run.Steps[n]; o.Spec.Flow != nil {
			flows = append(flows, n+1)
		}
	}
	if len(flows) > 0 && rapid.Bool().Draw(rt, "within") {
		s.In = rapid.SampledFrom(flows).Draw(rt, "in")
	}
	for n := range w.run.Steps {
		if o := &w.run.Steps[n]; o.In == s.In && o.Undoes == 0 && o.PartOf == 0 {
			peers = append(peers, n)
		}
	}
	if len(peers) > 0 && rapid.IntRange(0, 4).Draw(rt, "undo") == 0 {
		s.Undoes = 1 + rapid.SampledFrom(peers).Draw(rt, "undoes")
	}
	for _, n := range peers {
		if s.Undoes == 0 && rapid.IntRange(0, 3).Draw(rt, "need") == 0 {
			s.Needs = append(s.Needs, n)
		}
	}
	spec.OnFailure = rapid.SampledFrom([]hostler.OnFailure{
		"", hostler.OnFailureContinue, hostler.OnFailureRollback,
	}).Draw(rt, "on failure")
	switch rapid.IntRange(0, 7).Draw(rt, "kind") {
	case 3:
		spec.Flow = &hostler.FlowStep{Template: "t"}
	case 0:
		spec.Approval = &hostler.ApprovalStep{Expires: hostler.Duration(rapid.IntRange(0, 1).Draw(rt, "exp")) * 1e9}
	case 1:
		spec.Wait = hostler.Duration(time.Second)
	case 2:
		spec.Notify = &hostler.NotifyStep{Text: "x"}
	default:
		spec.Action = "a"
		s.Hosts = rapid.IntRange(0, 12).Draw(rt, "hosts")
		spec.Rollout = genRollout(rt)
	}
	if rapid.IntRange(0, 3).Draw(rt, "when") == 0 {
		spec.When = "true"
	}
	return s
}

// genParts gives a step a gate or a probe.
func (w *world) genParts(rt *rapid.T, i int) {
	if w.run.Steps[i].Spec.Action == "" || w.run.Steps[i].Undoes > 0 {
		return
	}
	part := func(name string) int {
		w.run.Steps = append(w.run.Steps, flow.Step{
			Spec:   &hostler.Step{ID: name, Action: "a", Rollout: &hostler.Rollout{MaxFailures: hostler.Amount{N: 100, Percent: true}}},
			PartOf: i + 1, In: w.run.Steps[i].In, State: hostler.StepPending, Follows: true,
		})
		return len(w.run.Steps)
	}
	if w.run.Steps[i].Spec.Rollout != nil && rapid.Bool().Draw(rt, "gate") {
		w.run.Steps[i].Gate = part("gate")
		w.run.Steps[w.run.Steps[i].Gate-1].Spec.Rollout = nil
	}
	if rapid.Bool().Draw(rt, "probe") {
		w.run.Steps[i].Probe = part("probe")
	}
}

func genRollout(rt *rapid.T) *hostler.Rollout {
	if rapid.Bool().Draw(rt, "plain") {
		return nil
	}
	r := &hostler.Rollout{MaxFailures: hostler.Amount{N: rapid.IntRange(0, 3).Draw(rt, "budget")}}
	for range rapid.IntRange(0, 3).Draw(rt, "batches") {
		r.Batch = append(r.Batch, hostler.Amount{
			N: rapid.IntRange(1, 40).Draw(rt, "batch"), Percent: rapid.Bool().Draw(rt, "percent"),
		})
	}
	r.PauseBetween = hostler.Duration(rapid.IntRange(0, 1).Draw(rt, "pause")) * 1e9
	return r
}

// TestRunsEnd runs random flows with random outcomes, pauses and terminations.
func TestRunsEnd(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := &world{now: epoch, asked: map[int]bool{}, condition: map[int]bool{}, probed: map[int]int{}}
		for i := range rapid.IntRange(1, 12).Draw(rt, "steps") {
			w.run.Steps = append(w.run.Steps, w.genStep(rt, i))
			w.genParts(rt, len(w.run.Steps)-1)
		}
		for i := range w.run.Steps {
			w.condition[i] = rapid.Bool().Draw(rt, "holds")
		}
		w.perStep = make([]int, len(w.run.Steps))
		for turn := 0; ; turn++ {
			if turn > 2000 {
				rt.Fatalf("the run does not end: %+v", w.run)
			}
			w.advance(rt)
			if w.run.State.Ended() {
				break
			}
			w.happen(rt, turn)
		}
		w.checkEnd(rt)
	})
}

// happen lets something happen: a job, a person, a timer, a pause, a termination.
func (w *world) happen(rt *rapid.T, turn int) {
	switch playable := w.playable(); {
	case turn < 200 && rapid.IntRange(0, 20).Draw(rt, "pause") == 0:
		w.run.Paused = !w.run.Paused
	case turn < 200 && rapid.IntRange(0, 60).Draw(rt, "terminate") == 0 && w.run.Stop == "":
		w.run.Stop = hostler.RunCancelled
	case len(playable) > 0:
		w.play(rt, rapid.SampledFrom(playable).Draw(rt, "step"))
	case !w.run.Wake.IsZero():
		w.now = w.run.Wake
	case w.run.Paused:
		w.run.Paused = false
	default:
		rt.Fatalf("nothing can happen any more, and the run has not ended: %+v", w.run)
	}
}

func (w *world) checkEnd(rt *rapid.T) {
	for i := range w.run.Steps {
		s := &w.run.Steps[i]
		if !s.State.Ended() {
			rt.Fatalf("the run ended as %s, step %d is %s", w.run.State, i, s.State)
		}
		if w.perStep[i] != s.Started || s.Succeeded+s.Failed+s.Cancelled != s.Started {
			rt.Fatalf("step %d: %d jobs, counters %+v", i, w.perStep[i], *s)
		}
		if s.State == hostler.StepSucceeded && s.Spec.Action != "" && s.Started != s.Hosts {
			rt.Fatalf("step %d succeeded on %d of %d hosts", i, s.Started, s.Hosts)
		}
		ran := s.Started > 0 || s.State == hostler.StepSucceeded
		if s.In == 0 && w.run.State == hostler.RunSucceeded && !ran && s.State == hostler.StepCancelled {
			rt.Fatalf("step %d was cancelled in a run that succeeded", i)
		}
	}
}

// action returns a step of a number of hosts.
func action(id string, hosts int, needs ...int) flow.Step {
	return flow.Step{Spec: &hostler.Step{ID: id, Action: "a"}, Needs: needs, Hosts: hosts, State: hostler.StepPending}
}

// next calls Next with plenty of jobs.
func next(r flow.Run, now time.Time) (flow.Run, []flow.Effect) {
	n, effects, _ := flow.Next(r, flow.Clock{Now: now, Jobs: 1000, Holds: func(*flow.Run, int) (bool, error) {
		return false, errors.New("boom")
	}})
	return n, effects
}

func states(r flow.Run) []hostler.StepState {
	var out []hostler.StepState
	for i := range r.Steps {
		out = append(out, r.Steps[i].State)
	}
	return out
}

func wantStates(t *testing.T, r flow.Run, state hostler.RunState, steps ...hostler.StepState) {
	t.Helper()
	if r.State != state || !slices.Equal(states(r), steps) {
		t.Fatalf("run %s with steps %v, want %s with %v", r.State, states(r), state, steps)
	}
}

// TestWavesPauseAndStopAtTheBudget follows a rollout of ten hosts.
func TestWavesPauseAndStopAtTheBudget(t *testing.T) {
	s := action("a", 10)
	s.Spec.Rollout = &hostler.Rollout{
		Batch:        []hostler.Amount{{N: 1}, {N: 25, Percent: true}, {N: 100, Percent: true}},
		MaxFailures:  hostler.Amount{N: 1},
		PauseBetween: hostler.Duration(time.Minute),
	}
	r, effects := next(flow.Run{Steps: []flow.Step{s}}, epoch)
	if len(effects) != 1 || effects[0].N != 1 {
		t.Fatalf("the canary: %+v", effects)
	}
	r.Steps[0].Succeeded = 1
	r, effects = next(r, epoch)
	if len(effects) != 0 || !r.Wake.Equal(epoch.Add(time.Minute)) {
		t.Fatalf("no pause: %+v, wake at %v", effects, r.Wake)
	}
	now := r.Wake
	r, effects = next(r, now)
	if len(effects) != 1 || effects[0].N != 2 || r.Steps[0].Started != 3 {
		t.Fatalf("the second wave: %+v", effects)
	}
	r.Steps[0].Failed = 2
	r, effects = next(r, now)
	if len(effects) != 0 || r.Steps[0].Started != 3 {
		t.Fatalf("jobs start after the budget: %+v", effects)
	}
	wantStates(t, r, hostler.RunFailed, hostler.StepFailed)
}

// TestParallelHosts: of a wave, so many hosts run at once, and a strict step fails at its end
// if any of them did.
func TestParallelHosts(t *testing.T) {
	s := action("a", 5)
	s.Strict = true
	s.Spec.Rollout = &hostler.Rollout{Parallel: 2, MaxFailures: hostler.Amount{N: 100, Percent: true}}
	r, effects := next(flow.Run{Steps: []flow.Step{s}}, epoch)
	if len(effects) != 1 || effects[0].N != 2 {
		t.Fatalf("the first hosts: %+v", effects)
	}
	r.Steps[0].Failed = 1
	r, effects = next(r, epoch)
	if len(effects) != 1 || effects[0].N != 1 || r.Steps[0].Started != 3 {
		t.Fatalf("after one has ended: %+v", effects)
	}
	r.Steps[0].Succeeded = 2
	r, effects = next(r, epoch)
	if len(effects) != 1 || effects[0].N != 2 {
		t.Fatalf("the last hosts: %+v", effects)
	}
	r.Steps[0].Succeeded = 4
	r, _ = next(r, epoch)
	wantStates(t, r, hostler.RunFailed, hostler.StepFailed)
}

// TestWithdrawn: a wave whose budget is used up withdraws what has not started.
func TestWithdrawn(t *testing.T) {
	r, _ := next(flow.Run{Steps: []flow.Step{action("a", 100)}}, epoch)
	r.Steps[0].Failed = 1
	r, effects := next(r, epoch)
	if len(effects) != 1 || effects[0].Kind != flow.Withdraw {
		t.Fatalf("effects %+v", effects)
	}
	r.Steps[0].Cancelled = 99
	r, _ = next(r, epoch)
	wantStates(t, r, hostler.RunFailed, hostler.StepFailed)
}

// TestStopAlwaysAndContinue runs what follows a failure.
func TestStopAlwaysAndContinue(t *testing.T) {
	tell := action("tell", 1, 1)
	tell.Spec.Always = true
	r := flow.Run{Steps: []flow.Step{action("a", 1), action("b", 1, 0), tell}}
	r, _ = next(r, epoch)
	r.Steps[0].Failed = 1
	r, _ = next(r, epoch)
	wantStates(t, r, hostler.RunRunning, hostler.StepFailed, hostler.StepCancelled, hostler.StepRunning)
	r.Steps[2].Succeeded = 1
	r, _ = next(r, epoch)
	wantStates(t, r, hostler.RunFailed, hostler.StepFailed, hostler.StepCancelled, hostler.StepSucceeded)

	soft := action("a", 1)
	soft.Spec.OnFailure = hostler.OnFailureContinue
	r, _ = next(flow.Run{Steps: []flow.Step{soft, action("b", 1, 0)}}, epoch)
	r.Steps[0].Failed = 1
	r, _ = next(r, epoch)
	r.Steps[1].Succeeded = 1
	r, _ = next(r, epoch)
	wantStates(t, r, hostler.RunSucceeded, hostler.StepFailed, hostler.StepSucceeded)
}

// TestApprovals: a decision moves the run on; an expiry rejects unless the step says else.
func TestApprovals(t *testing.T) {
	ask := flow.Step{Spec: &hostler.Step{ID: "qa", Approval: &hostler.ApprovalStep{
		Title: "ok?", Expires: hostler.Duration(time.Hour),
	}}, State: hostler.StepPending}
	for name, c := range map[string]struct {
		decide   hostler.RunState
		later    time.Duration
		onExpiry hostler.OnExpiry
		state    hostler.RunState
		steps    []hostler.StepState
	}{
		"approved": {
			decide: hostler.RunSucceeded, state: hostler.RunRunning,
			steps: []hostler.StepState{hostler.StepSucceeded, hostler.StepRunning},
		},
		"rejected": {
			decide: hostler.RunRejected, state: hostler.RunRejected,
			steps: []hostler.StepState{hostler.StepRejected, hostler.StepCancelled},
		},
		"expired": {
			later: time.Hour, state: hostler.RunRejected,
			steps: []hostler.StepState{hostler.StepRejected, hostler.StepCancelled},
		},
		"expired, continue": {
			later: time.Hour, onExpiry: hostler.OnExpiryContinue, state: hostler.RunRunning,
			steps: []hostler.StepState{hostler.StepSucceeded, hostler.StepRunning},
		},
	} {
		spec := *ask.Spec
		approval := *ask.Spec.Approval
		approval.OnExpiry, spec.Approval = c.onExpiry, &approval
		first := ask
		first.Spec = &spec
		r, effects := next(flow.Run{Steps: []flow.Step{first, action("b", 1, 0)}}, epoch)
		if len(effects) != 1 || effects[0].Kind != flow.Ask || !r.Wake.Equal(epoch.Add(time.Hour)) {
			t.Fatalf("%s: effects %+v, wake at %v", name, effects, r.Wake)
		}
		wantStates(t, r, hostler.RunWaiting, hostler.StepWaiting, hostler.StepPending)
		r.Steps[0].Decision = c.decide
		r, _ = next(r, epoch.Add(c.later))
		wantStates(t, r, c.state, c.steps...)
	}
}

// TestUnknownWaits: unknown jobs hold the next wave and the end of the step.
func TestUnknownWaits(t *testing.T) {
	r, _ := next(flow.Run{Steps: []flow.Step{action("a", 2)}}, epoch)
	r.Steps[0].Succeeded, r.Steps[0].Unknown = 1, 1
	r, _ = next(r, epoch)
	wantStates(t, r, hostler.RunWaiting, hostler.StepUnknown)
	r.Steps[0].Succeeded, r.Steps[0].Unknown = 2, 0
	r, _ = next(r, epoch)
	wantStates(t, r, hostler.RunSucceeded, hostler.StepSucceeded)
}

func TestBrokenConditionFailsTheStep(t *testing.T) {
	s := action("a", 1)
	s.Spec.When = "x"
	r, _ := next(flow.Run{Steps: []flow.Step{s}}, epoch)
	wantStates(t, r, hostler.RunFailed, hostler.StepFailed)
}
