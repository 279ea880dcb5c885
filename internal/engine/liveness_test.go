package engine_test

import (
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/engine"
	"hostler.dev/hostler/internal/store/storetest"
)

// clockEnv is an env whose engine has a monotonic clock of its own, apart from the wall
// clock that stamps the rows.
type clockEnv struct {
	*env
	mono *storetest.Clock
	wall *storetest.Harness
}

func eachClockEnv(t *testing.T, sole bool, fn func(t *testing.T, e clockEnv)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) {
		mono := storetest.NewClock()
		e := newEnv(t, h.Store, func(c *engine.Config) { c.Now, c.Sole = mono.Now, sole })
		e.prepare("default")
		fn(t, clockEnv{env: e, mono: mono, wall: h})
	})
}

// look advances the monotonic clock in steps, and observes the workers after each.
func (e clockEnv) look(d time.Duration) {
	e.t.Helper()
	const step = 2 * time.Second
	for ; d > 0; d -= step {
		e.mono.Advance(step)
		if err := e.engine.RescueOnce(e.t.Context()); err != nil {
			e.t.Fatal(err)
		}
	}
}

func (e clockEnv) heartbeat(w hostler.WorkerID, held ...hostler.Lease) hostler.HeartbeatReply {
	e.t.Helper()
	e.wall.Advance(time.Microsecond) // heartbeats of the same time could not be distinguished
	reply, err := e.engine.Heartbeat(e.t.Context(), hostler.Heartbeat{Worker: w, Held: refs(held)})
	if err != nil {
		e.t.Fatal(err)
	}
	return reply
}

func (e clockEnv) wantState(id hostler.JobID, want hostler.State) {
	e.t.Helper()
	if got := e.job(id).State; got != want {
		e.t.Errorf("the job is %s, want %s", got, want)
	}
}

// TestSilentWorkerIsLost sends no heartbeat for as long as a lease lasts.
func TestSilentWorkerIsLost(t *testing.T) {
	eachClockEnv(t, false, func(t *testing.T, e clockEnv) {
		spec := e.spec()
		spec.OnLost = hostler.OnLostAsk
		id := e.enqueue(spec)[0]
		w := e.register()
		lease := e.lease(w, 1)
		e.look(hostler.LeaseTTL - 2*time.Second)
		e.heartbeat(w, lease...)
		e.look(hostler.LeaseTTL)
		e.wantState(id, hostler.StateRunning)
		e.look(4 * time.Second)
		e.wantState(id, hostler.StateUnknown)
		e.wantInvariants()
	})
}

// TestClockStepsLoseNoWorker steps the clock that stamps the rows. No worker is lost,
// and no lease is handed back whose answer is on its way.
func TestClockStepsLoseNoWorker(t *testing.T) {
	eachClockEnv(t, false, func(t *testing.T, e clockEnv) {
		id := e.enqueue(e.spec())[0]
		w := e.register()
		lease := e.lease(w, 1)
		for _, step := range []time.Duration{time.Hour, -2 * time.Hour, 31 * time.Second, time.Hour} {
			e.wall.Advance(step)
			e.look(4 * time.Second)
			if reply := e.heartbeat(w); len(reply.Drop) > 0 || reply.LeaseFor != hostler.LeaseTTL {
				t.Errorf("after a step of %v: %+v", step, reply)
			}
			e.wantState(id, hostler.StateRunning)
		}
		e.heartbeat(w, lease...)
		e.wantInvariants()
	})
}

// TestLeaseThatNeverArrivedIsHandedBack lists a lease in no heartbeat for longer than
// its answer may take.
func TestLeaseThatNeverArrivedIsHandedBack(t *testing.T) {
	eachClockEnv(t, false, func(t *testing.T, e clockEnv) {
		id := e.enqueue(e.spec())[0]
		w := e.register()
		lease := e.lease(w, 1)
		e.heartbeat(w)
		e.mono.Advance(20 * time.Second)
		e.heartbeat(w, lease...) // it was on its way
		e.wantState(id, hostler.StateRunning)
		e.heartbeat(w)
		e.mono.Advance(10 * time.Second)
		e.heartbeat(w)
		e.wantState(id, hostler.StateRunning)
		e.mono.Advance(6 * time.Second)
		e.heartbeat(w)
		e.wantState(id, hostler.StateQueued)
		e.wantInvariants()
	})
}

// TestSuspendedServerLosesNoWorker stops observing for an hour, as a server does that
// was suspended or whose database was away. The observation starts again.
func TestSuspendedServerLosesNoWorker(t *testing.T) {
	eachClockEnv(t, false, func(t *testing.T, e clockEnv) {
		id := e.enqueue(e.spec())[0]
		w := e.register()
		e.lease(w, 1)
		e.look(4 * time.Second)
		e.mono.Advance(time.Hour)
		e.look(hostler.LeaseTTL)
		e.wantState(id, hostler.StateRunning)
		e.look(4 * time.Second)
		e.wantState(id, hostler.StateQueued)
	})
}

// TestSoleWorkerOutlivesAStall sends no heartbeat for ten minutes to a sole server. Its
// worker keeps its jobs, since no other server could run them.
func TestSoleWorkerOutlivesAStall(t *testing.T) {
	eachClockEnv(t, true, func(t *testing.T, e clockEnv) {
		id := e.enqueue(e.spec())[0]
		idle, w := e.register(), e.register()
		lease := e.lease(w, 1)
		e.look(10 * time.Minute)
		e.wantState(id, hostler.StateRunning)
		if reply := e.heartbeat(w, lease...); reply.LeaseFor < 24*time.Hour {
			t.Errorf("the lease lasts %v", reply.LeaseFor)
		}
		_, err := e.engine.Heartbeat(t.Context(), hostler.Heartbeat{Worker: idle})
		if hostler.CodeOf(err) != hostler.CodeStale {
			t.Errorf("an earlier session without jobs: %v, want stale", err)
		}
	})
}
