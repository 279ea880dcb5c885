package engine_test

import (
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/engine"
	"hostler.dev/hostler/internal/store/storetest"
)

// spans is a rig whose engine measures spans by a clock of its own, as the
// monotonic clock is apart from the wall clock.
type spans struct {
	*rig
	mono *storetest.Clock
	wall *storetest.Harness
}

func eachSpans(t *testing.T, sole bool, fn func(t *testing.T, r spans)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		mono := storetest.NewClock()
		r := newRig(t, h.Store, func(c *engine.Config) { c.Now, c.Sole = mono.Now, sole })
		r.prepare("default")
		fn(t, spans{rig: r, mono: mono, wall: h})
	})
}

// look passes a span in steps, with a look at the workers after each.
func (r spans) look(d time.Duration) {
	r.t.Helper()
	const step = 2 * time.Second
	for ; d > 0; d -= step {
		r.mono.Advance(step)
		if err := r.engine.RescueOnce(r.t.Context()); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r spans) heartbeat(w hostler.WorkerID, held ...hostler.Lease) hostler.HeartbeatReply {
	r.t.Helper()
	r.wall.Advance(time.Microsecond) // two heartbeats of one moment are one
	reply, err := r.engine.Heartbeat(r.t.Context(), hostler.Heartbeat{Worker: w, Held: refs(held)})
	if err != nil {
		r.t.Fatal(err)
	}
	return reply
}

func (r spans) wantState(id hostler.JobID, want hostler.State) {
	r.t.Helper()
	if got := r.job(id).State; got != want {
		r.t.Errorf("the job is %s, want %s", got, want)
	}
}

// A worker that sends no heartbeat for as long as a lease lasts is lost.
func TestSilentWorkerIsLost(t *testing.T) {
	eachSpans(t, false, func(t *testing.T, r spans) {
		spec := r.spec()
		spec.OnLost = hostler.OnLostAsk
		id := r.enqueue(spec)[0]
		w := r.register()
		lease := r.lease(w, 1)
		r.look(hostler.LeaseTTL - 2*time.Second)
		r.heartbeat(w, lease...)
		r.look(hostler.LeaseTTL)
		r.wantState(id, hostler.StateRunning)
		r.look(4 * time.Second)
		r.wantState(id, hostler.StateUnknown)
		r.wantInvariants()
	})
}

// Steps of the clock that the rows are stamped by lose no worker, and hand no job
// back whose lease is on its way.
func TestClockStepsLoseNobody(t *testing.T) {
	eachSpans(t, false, func(t *testing.T, r spans) {
		id := r.enqueue(r.spec())[0]
		w := r.register()
		lease := r.lease(w, 1)
		for _, step := range []time.Duration{time.Hour, -2 * time.Hour, 31 * time.Second, time.Hour} {
			r.wall.Advance(step)
			r.look(4 * time.Second)
			if reply := r.heartbeat(w); len(reply.Drop) > 0 || reply.LeaseFor != hostler.LeaseTTL {
				t.Errorf("after a step of %v: %+v", step, reply)
			}
			r.wantState(id, hostler.StateRunning)
		}
		r.heartbeat(w, lease...)
		r.wantInvariants()
	})
}

// A lease that no heartbeat lists for longer than its answer may take is handed
// back.
func TestLeaseThatNeverArrivedIsHandedBack(t *testing.T) {
	eachSpans(t, false, func(t *testing.T, r spans) {
		id := r.enqueue(r.spec())[0]
		w := r.register()
		lease := r.lease(w, 1)
		r.heartbeat(w)
		r.mono.Advance(20 * time.Second)
		r.heartbeat(w, lease...) // it was on its way
		r.wantState(id, hostler.StateRunning)
		r.heartbeat(w)
		r.mono.Advance(10 * time.Second)
		r.heartbeat(w)
		r.wantState(id, hostler.StateRunning)
		r.mono.Advance(6 * time.Second)
		r.heartbeat(w)
		r.wantState(id, hostler.StateQueued)
		r.wantInvariants()
	})
}

// A server that could not look, because it was suspended or its database was away,
// has observed nothing: it begins anew.
func TestServerThatDidNotLookLosesNobody(t *testing.T) {
	eachSpans(t, false, func(t *testing.T, r spans) {
		id := r.enqueue(r.spec())[0]
		w := r.register()
		r.lease(w, 1)
		r.look(4 * time.Second)
		r.mono.Advance(time.Hour)
		r.look(hostler.LeaseTTL)
		r.wantState(id, hostler.StateRunning)
		r.look(4 * time.Second)
		r.wantState(id, hostler.StateQueued)
	})
}

// Nobody else could run the jobs of a sole server's worker: it keeps them however
// long its heartbeats take.
func TestSoleWorkerOutlivesAStall(t *testing.T) {
	eachSpans(t, true, func(t *testing.T, r spans) {
		id := r.enqueue(r.spec())[0]
		idle, w := r.register(), r.register()
		lease := r.lease(w, 1)
		r.look(10 * time.Minute)
		r.wantState(id, hostler.StateRunning)
		if reply := r.heartbeat(w, lease...); reply.LeaseFor < 24*time.Hour {
			t.Errorf("the lease lasts %v", reply.LeaseFor)
		}
		if _, err := r.engine.Heartbeat(t.Context(), hostler.Heartbeat{Worker: idle}); hostler.CodeOf(err) != hostler.CodeStale {
			t.Errorf("an earlier session without jobs: %v, want stale", err)
		}
	})
}
