package engine

import (
	"sync"
	"sync/atomic"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// This file lets the transaction of a report lease the next jobs to the worker that
// waits for them. A waiting lease request has a turn: the right to lease as many jobs as
// it asked for. One transaction has it at a time, that of the request itself or that of a
// report, and either leases jobs with it or gives it back.

// turn is the right to lease jobs for one lease request.
type turn struct {
	slots int
	// free holds the turn itself while no transaction has it.
	free chan struct{}
	// leased receives what a report leased with the turn, which is over then.
	leased chan directly
	// mine: the request itself has the turn, or what was leased with it. lost: it claimed
	// nothing, because a report has the turn. Only the request and its transactions use them.
	mine, lost bool
	yielded    atomic.Bool // the request found nothing, and waits
}

// directly is what the transaction of a report leased.
type directly struct {
	leases []hostler.Lease
	began  time.Time
}

// turns are those of the lease requests that wait.
type turns struct {
	mu sync.Mutex
	of map[hostler.WorkerID]*turn
}

// open opens a turn. A worker that sends a second request while one waits has a turn for
// one of them only.
func (ts *turns) open(req hostler.LeaseRequest) *turn {
	t := &turn{slots: req.Slots, free: make(chan struct{}, 1), leased: make(chan directly, 1)}
	t.free <- struct{}{}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.of == nil {
		ts.of = map[hostler.WorkerID]*turn{}
	}
	if ts.of[req.Worker] == nil {
		ts.of[req.Worker] = t
	}
	return t
}

// end ends a turn. It returns what a report leased with it, for the worker of the request.
func (ts *turns) end(w hostler.WorkerID, t *turn) directly {
	ts.mu.Lock()
	if ts.of[w] == t {
		delete(ts.of, w)
	}
	ts.mu.Unlock()
	return t.await()
}

func (ts *turns) waiting(w hostler.WorkerID) *turn {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.of[w]
}

// take takes the turn if no transaction has it.
func (t *turn) take() bool {
	select {
	case <-t.free:
		return true
	default:
		return false
	}
}

func (t *turn) giveBack() { t.free <- struct{}{} }

// await waits until the request has its turn, or what a report leased with it, and returns
// the latter. The transaction that has the turn ends by itself, so that await is not
// cancelled: what it leased must not be lost.
func (t *turn) await() (d directly) {
	if t.mine {
		return d
	}
	t.mine = true
	select {
	case <-t.free:
	case d = <-t.leased:
	}
	return d
}

// retake takes the turn for a transaction of the request, unless the request has it. Only
// when that transaction runs: until then, a report may take it.
func (t *turn) retake() bool {
	t.mine = t.mine || t.take()
	t.lost = !t.mine
	return t.mine
}

// yield gives the turn to the reports that come while the request waits.
func (t *turn) yield() {
	if t.mine {
		t.mine = false
		t.giveBack()
		t.yielded.Store(true)
	}
}

// reporting is the use of a turn by the transaction of a report, which may run several
// times.
type reporting struct {
	e       *Engine
	worker  hostler.WorkerID
	turn    *turn // while has is true
	has     bool
	began   time.Time
	claimed store.Claimed
}

// slots takes the turn; see [store.Tx.FinishAndClaim].
func (r *reporting) slots() int {
	if !r.has {
		// As late as possible: the request may have come after the report.
		if r.turn = r.e.turns.waiting(r.worker); r.turn == nil || !r.turn.take() {
			return 0
		}
	}
	r.has, r.began = true, r.e.cfg.Now()
	return r.turn.slots
}

// finish finishes reports, and leases the next jobs.
func (r *reporting) finish(tx *store.Tx, reports []hostler.Report) (acks []error, err error) {
	acks, r.claimed, err = tx.FinishAndClaim(r.worker, reports, r.slots)
	if err == nil && r.has && len(r.claimed.Leases) == 0 {
		r.end() // for the transactions that commit together with this one
	}
	return acks, err
}

// end gives the turn back.
func (r *reporting) end() {
	if r.has {
		r.has = false
		r.turn.giveBack()
	}
}

// deliver gives the leases to the request that waits, if the transaction was committed.
func (r *reporting) deliver(err error) {
	if !r.has || err != nil {
		r.end()
		return
	}
	r.has = false
	if r.claimed.Withheld {
		r.e.withheld.Store(true)
	}
	r.turn.leased <- directly{r.claimed.Leases, r.began}
}
