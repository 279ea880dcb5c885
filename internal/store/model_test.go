package store_test

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// model is a reference implementation of the queue: plain Go, one map, no indexes,
// nothing cached. The state machine test compares both databases with it.
type model struct {
	now     time.Time
	jobs    map[hostler.JobID]*mjob
	queues  map[string]*mqueue
	lanes   map[string]*mlane
	workers map[hostler.WorkerID]bool // live ones
}

type mlane struct {
	lim     int
	arrived time.Time        // of the newest job
	owner   hostler.WorkerID // ran the last job that left running
}

type mqueue struct {
	paused bool
	lim    int
}

type mjob struct {
	spec     hostler.JobSpec
	id       hostler.JobID
	place    string // as store.Tx.Places returns it
	held     bool
	queuedAt time.Time
	rank     time.Time // of a ready job
	runAt    time.Time
	ttl      bool // expires_at still counts
	attempt  int
	losses   int
	fence    int64
	worker   hostler.WorkerID
	cancel   bool

	// A ready job is reserved for the worker with its lane's connection until then.
	affinity      hostler.WorkerID
	affinityUntil time.Time
}

func newModel(now time.Time) *model {
	return &model{
		now: now, jobs: map[hostler.JobID]*mjob{}, queues: map[string]*mqueue{}, lanes: map[string]*mlane{},
		workers: map[hostler.WorkerID]bool{},
	}
}

func (m *model) ordered() []*mjob {
	return slices.SortedFunc(maps.Values(m.jobs), func(a, b *mjob) int { return cmp.Compare(a.id, b.id) })
}

func (m *model) inflight(lane string) int {
	n := 0
	for _, j := range m.jobs {
		if j.spec.LaneKey == lane && j.held {
			n++
		}
	}
	return n
}

// promote gives the free capacity of every lane to its best waiting jobs.
func (m *model) promote() {
	for {
		var best *mjob
		for _, j := range m.ordered() {
			if j.place != "wait" || m.queues[j.spec.Queue].paused || m.inflight(j.spec.LaneKey) >= m.lane(j.spec.LaneKey).lim {
				continue
			}
			if best == nil || laneBefore(j, best) {
				best = j
			}
		}
		if best == nil {
			return
		}
		best.held = true
		m.ready(best)
	}
}

// ready makes a job ready, reserved for a short time for the worker that holds its
// lane's connection, if that worker is live and another one is too.
func (m *model) ready(j *mjob) {
	j.place, j.affinity, j.affinityUntil = "ready", 0, time.Time{}
	arrived := j.queuedAt
	if arrived.After(m.now) { // by a clock that was set back since
		arrived = m.now
	}
	j.rank = arrived.Add(time.Duration(j.spec.Priority-1) * store.AgePerStep)
	if j.spec.LaneKey == "" {
		return
	}
	owner := m.lane(j.spec.LaneKey).owner
	if m.workers[owner] && len(m.workers) > 1 {
		j.affinity, j.affinityUntil = owner, m.now.Add(200*time.Millisecond)
	}
}

func (m *model) lane(key string) *mlane {
	if m.lanes[key] == nil {
		m.lanes[key] = &mlane{lim: 1}
	}
	return m.lanes[key]
}

// arrive notes when a job arrived: later than all before it in its lane, whatever
// the clock shows.
func (m *model) arrive(j *mjob, at time.Time) {
	j.queuedAt = at
	if j.spec.LaneKey == "" {
		return
	}
	l := m.lane(j.spec.LaneKey)
	if !at.After(l.arrived) {
		j.queuedAt = l.arrived.Add(time.Microsecond)
	}
	l.arrived = j.queuedAt
}

// leaves records which worker a running job leaves.
func (m *model) leaves(j *mjob) {
	if j.spec.LaneKey != "" {
		m.lane(j.spec.LaneKey).owner = j.worker
	}
}

func laneBefore(a, b *mjob) bool {
	return cmp.Or(cmp.Compare(a.spec.Priority, b.spec.Priority), a.queuedAt.Compare(b.queuedAt), cmp.Compare(a.id, b.id)) < 0
}

// queue makes a job wait for its lane; promote makes it ready at once if it can.
func (m *model) queue(j *mjob) {
	switch {
	case j.spec.LaneKey == "":
		j.held = false
		m.ready(j)
	case j.held && !m.queues[j.spec.Queue].paused:
		m.ready(j)
	default:
		j.place, j.held = "wait", false
	}
}

func (m *model) enqueue(id hostler.JobID, s hostler.JobSpec) {
	j := &mjob{spec: s, id: id, ttl: !s.ExpiresAt.IsZero()}
	m.jobs[id] = j
	if s.LaneKey != "" {
		m.lane(s.LaneKey).lim = max(1, s.LaneLimit)
	}
	if s.RunAt.After(m.now) {
		j.place, j.runAt = "sched", s.RunAt
		return
	}
	m.arrive(j, m.now)
	m.queue(j)
}

func (m *model) claim(w hostler.WorkerID, n int) []hostler.JobID {
	room := map[string]int{}
	for name, q := range m.queues {
		room[name] = n
		if q.lim > 0 {
			room[name] = min(n, q.lim-m.running(name))
		}
		if q.paused {
			room[name] = 0
		}
	}
	var cand []*mjob
	for name := range m.queues {
		cand = append(cand, m.candidates(name, w, room[name])...)
	}
	slices.SortFunc(cand, byRank)
	var out []hostler.JobID
	for _, j := range cand[:min(n, len(cand))] {
		if j.ttl && !j.spec.ExpiresAt.After(m.now) {
			continue // left for expire
		}
		j.place, j.worker, j.ttl = "running", w, false
		j.attempt++
		j.fence++
		out = append(out, j.id)
	}
	return out
}

// candidates are the jobs of a queue that a worker may take: up to n that are
// reserved for no other, and up to n whose reservation for another is over.
func (m *model) candidates(queue string, w hostler.WorkerID, n int) []*mjob {
	var free, own, lapsed []*mjob
	for _, j := range m.ordered() {
		switch {
		case j.place != "ready" || j.spec.Queue != queue:
		case j.affinity == 0:
			free = append(free, j)
		case j.affinity == w:
			own = append(own, j)
		case !j.affinityUntil.After(m.now), j.affinityUntil.After(m.now.Add(400 * time.Millisecond)):
			lapsed = append(lapsed, j)
		}
	}
	slices.SortFunc(free, byRank)
	slices.SortFunc(own, byRank)
	slices.SortFunc(lapsed, func(a, b *mjob) int {
		return cmp.Or(a.affinityUntil.Compare(b.affinityUntil), byRank(a, b))
	})
	var all []*mjob
	for _, some := range [][]*mjob{free, own, lapsed} {
		all = append(all, some[:min(max(n, 0), len(some))]...)
	}
	slices.SortFunc(all, byRank)
	return all[:min(max(n, 0), len(all))]
}

func byRank(a, b *mjob) int { return cmp.Or(a.rank.Compare(b.rank), cmp.Compare(a.id, b.id)) }

func (m *model) running(queue string) int {
	n := 0
	for _, j := range m.jobs {
		if j.place == "running" && j.spec.Queue == queue {
			n++
		}
	}
	return n
}

func (m *model) end(j *mjob, s hostler.State) {
	j.place, j.held = "done:"+string(s), false
}

func (m *model) finish(j *mjob, r hostler.Report) {
	m.leaves(j)
	switch r.Outcome {
	case hostler.OutcomeSucceeded:
		m.end(j, hostler.StateSucceeded)
	case hostler.OutcomeCancelled:
		m.end(j, hostler.StateCancelled)
	case hostler.OutcomeHandBack:
		if j.cancel {
			m.end(j, hostler.StateCancelled)
			return
		}
		j.attempt--
		j.ttl = j.attempt == 0 && j.losses == 0 && !j.spec.ExpiresAt.IsZero()
		m.queue(j)
	case hostler.OutcomeUnknown:
		m.lost(j)
	case hostler.OutcomeFailed:
		if j.attempt >= max(1, j.spec.MaxAttempts) || r.NoRetry || j.cancel {
			m.end(j, hostler.StateFailed)
			return
		}
		j.place = "sched"
		if j.spec.LaneKey == "" || j.spec.OnRetry == hostler.OnRetryRelease {
			j.held = false
		}
	}
}

func (m *model) lost(j *mjob) {
	m.leaves(j)
	switch {
	case j.spec.OnLost == hostler.OnLostRetry && j.cancel:
		m.end(j, hostler.StateCancelled)
	case j.spec.OnLost == hostler.OnLostRetry && j.losses < hostler.MaxLosses:
		j.attempt--
		j.losses++
		m.queue(j)
	case j.spec.OnLost == hostler.OnLostAsk:
		j.place = "parked"
		if j.spec.OnUnknown == hostler.OnUnknownRelease {
			j.held = false
		}
	default:
		m.end(j, hostler.StateFailed)
	}
}

// due queues the jobs that are due, each as if it had arrived at its own time.
func (m *model) due() {
	due := slices.DeleteFunc(m.ordered(), func(j *mjob) bool { return j.place != "sched" || j.runAt.After(m.now) })
	slices.SortStableFunc(due, func(a, b *mjob) int { return a.runAt.Compare(b.runAt) })
	for _, j := range due {
		m.arrive(j, j.runAt)
		m.queue(j)
	}
}

// relane moves the live jobs of an asset to the lane of another device: jobs that hold
// a lane hold the new one, the others queue there by their arrival.
func (m *model) relane(asset hostler.AssetID, from, to string) {
	for _, j := range m.ordered() {
		if j.spec.Asset != asset || j.spec.LaneKey != from || strings.HasPrefix(j.place, "done") {
			continue
		}
		j.spec.LaneKey = to
		m.lane(to).lim = 1
		if j.place == "wait" || j.place == "ready" {
			j.place, j.held = "wait", false
			if l := m.lane(to); j.queuedAt.After(l.arrived) {
				l.arrived = j.queuedAt
			}
		}
	}
}

func (m *model) expire() {
	for _, j := range m.ordered() {
		waiting := j.place == "sched" || j.place == "wait" || j.place == "ready"
		if waiting && j.ttl && !j.spec.ExpiresAt.After(m.now) {
			m.end(j, hostler.StateExpired)
		}
	}
}

func (m *model) pause(name string, paused bool) {
	m.queues[name].paused = paused
	if !paused {
		return
	}
	for _, j := range m.ordered() {
		if j.place == "ready" && j.spec.Queue == name && j.spec.LaneKey != "" {
			j.place, j.held = "wait", false
		}
	}
}

// places is what store.Tx.Places must return. A job without lane "holds" nothing.
func (m *model) places() map[int64]string {
	out := map[int64]string{}
	for id, j := range m.jobs {
		where := j.place
		if j.held && j.spec.LaneKey != "" && (where == "sched" || where == "parked") {
			where += "+held"
		}
		out[int64(id)] = where
	}
	return out
}
