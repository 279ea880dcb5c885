package store_test

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// model is the queue as it should be: plain Go, one map, no indexes, nothing
// cached. The state machine test holds both databases to it.
type model struct {
	now    time.Time
	jobs   map[hostler.JobID]*mjob
	queues map[string]*mqueue
	lims   map[string]int // of lanes
}

type mqueue struct {
	paused bool
	lim    int
}

type mjob struct {
	spec     hostler.JobSpec
	id       hostler.JobID
	place    string // as store.Tx.Places says
	held     bool
	queuedAt time.Time
	runAt    time.Time
	ttl      bool // expires_at still counts
	attempt  int
	losses   int
	fence    int64
	worker   hostler.WorkerID
	cancel   bool
}

func newModel(now time.Time) *model {
	return &model{now: now, jobs: map[hostler.JobID]*mjob{}, queues: map[string]*mqueue{}, lims: map[string]int{}}
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

// promote gives every lane's free capacity to the best of those that wait.
func (m *model) promote() {
	for {
		var best *mjob
		for _, j := range m.ordered() {
			if j.place != "wait" || m.queues[j.spec.Queue].paused || m.inflight(j.spec.LaneKey) >= m.lims[j.spec.LaneKey] {
				continue
			}
			if best == nil || laneBefore(j, best) {
				best = j
			}
		}
		if best == nil {
			return
		}
		best.place, best.held = "ready", true
	}
}

func laneBefore(a, b *mjob) bool {
	return cmp.Or(cmp.Compare(a.spec.Priority, b.spec.Priority), a.queuedAt.Compare(b.queuedAt), cmp.Compare(a.id, b.id)) < 0
}

// queue puts a job behind its lane; promote lets it pass at once when it may.
func (m *model) queue(j *mjob) {
	switch {
	case j.spec.LaneKey == "":
		j.place, j.held = "ready", false
	case j.held && !m.queues[j.spec.Queue].paused:
		j.place = "ready"
	default:
		j.place, j.held = "wait", false
	}
}

func (m *model) enqueue(id hostler.JobID, s hostler.JobSpec) {
	j := &mjob{spec: s, id: id, queuedAt: m.now, ttl: !s.ExpiresAt.IsZero()}
	m.jobs[id] = j
	if s.LaneKey != "" {
		m.lims[s.LaneKey] = max(1, s.LaneLimit)
	}
	if s.RunAt.After(m.now) {
		j.place, j.runAt = "sched", s.RunAt
		return
	}
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
	ready := slices.DeleteFunc(m.ordered(), func(j *mjob) bool { return j.place != "ready" })
	slices.SortStableFunc(ready, func(a, b *mjob) int { return rank(a).Compare(rank(b)) })
	var cand []*mjob
	for _, j := range ready {
		if room[j.spec.Queue] > 0 {
			room[j.spec.Queue]--
			cand = append(cand, j)
		}
	}
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

func rank(j *mjob) time.Time {
	return j.queuedAt.Add(time.Duration(j.spec.Priority-1) * store.AgePerStep)
}

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

func (m *model) due() {
	for _, j := range m.ordered() {
		if j.place == "sched" && !j.runAt.After(m.now) {
			j.queuedAt = m.now
			m.queue(j)
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

// places is what store.Tx.Places must say. A job without lane "holds" nothing.
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
