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

// model is a reference implementation of the queue: plain Go, one map, no indexes and no
// caches. [TestQueueAgainstModel] compares both databases with it.
type model struct {
	now     time.Time
	jobs    map[hostler.JobID]*mjob
	queues  map[string]*mqueue
	lanes   map[string]*mlane
	closed  []string                  // lanes from or to which jobs still have to move
	workers map[hostler.WorkerID]bool // live ones

	// turn and served decide which of two projects that run equally many jobs is served.
	turn   int
	served map[hostler.ProjectID]int
}

type mlane struct {
	lim     int
	project hostler.ProjectID // the only one with jobs in the lane; 0 none yet, -1 several
	arrived time.Time         // of the newest job
	owner   hostler.WorkerID  // ran the last job of the lane that stopped running
}

type mqueue struct {
	paused bool
	lim    int
}

type mjob struct {
	spec     hostler.JobSpec
	id       hostler.JobID
	table    string // as store.Tx.JobTables returns it, without "+held"
	held     bool
	queuedAt time.Time
	rank     time.Time // of a ready job
	runAt    time.Time
	ttl      bool // expires_at is in effect
	attempt  int
	losses   int
	fence    int64
	worker   hostler.WorkerID
	cancel   bool
	chosen   bool // by the claim that is being computed

	// A ready job is reserved for worker affinity, which holds the connection of its
	// lane, until affinityUntil.
	affinity      hostler.WorkerID
	affinityUntil time.Time
}

func newModel(now time.Time) *model {
	return &model{
		now: now, jobs: map[hostler.JobID]*mjob{}, queues: map[string]*mqueue{}, lanes: map[string]*mlane{},
		workers: map[hostler.WorkerID]bool{}, served: map[hostler.ProjectID]int{},
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

// keepLanes makes the jobs ready that are queued again and hold their lane. Where a lane
// has more jobs than it may, or is closed, they give it back, the last ones first.
func (m *model) keepLanes() {
	again := slices.DeleteFunc(m.ordered(), func(j *mjob) bool { return j.table != "again" })
	slices.SortFunc(again, func(a, b *mjob) int {
		if laneBefore(a, b) {
			return 1
		}
		return -1
	})
	for _, j := range again {
		key := j.spec.LaneKey
		if m.queues[j.spec.Queue].paused || slices.Contains(m.closed, key) || m.inflight(key) > m.lane(key).lim {
			j.table, j.held = "wait", false
			continue
		}
		m.ready(j)
	}
}

// promote makes waiting jobs ready, best first, up to the free capacity of their lanes.
func (m *model) promote() {
	m.keepLanes()
	for {
		var best *mjob
		for _, j := range m.ordered() {
			if j.table != "wait" || m.queues[j.spec.Queue].paused || slices.Contains(m.closed, j.spec.LaneKey) ||
				m.inflight(j.spec.LaneKey) >= m.lane(j.spec.LaneKey).lim {
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
	j.table, j.affinity, j.affinityUntil = "ready", 0, time.Time{}
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

// arrive sets the arrival of a job, which is later than that of all earlier jobs in its
// lane even if the clock was set back.
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

// use notes that a project has jobs in a lane. One that several projects use is not held
// by jobs that back off.
func (m *model) use(lane string, p hostler.ProjectID) {
	l := m.lane(lane)
	switch {
	case p == 0 || p == l.project:
	case l.project == 0:
		l.project = p
	default:
		l.project = -1
	}
	for _, j := range m.jobs {
		if l.project == -1 && j.table == "sched" && j.spec.LaneKey == lane {
			j.held = false
		}
	}
}

// recordOwner sets the owner of the lane to the worker that ran a job.
func (m *model) recordOwner(j *mjob) {
	if j.spec.LaneKey != "" {
		m.lane(j.spec.LaneKey).owner = j.worker
	}
}

func laneBefore(a, b *mjob) bool {
	return cmp.Or(
		cmp.Compare(a.spec.Priority, b.spec.Priority),
		a.queuedAt.Compare(b.queuedAt),
		cmp.Compare(a.id, b.id),
	) < 0
}

// queue makes a job ready, or lets it wait for its lane until promote makes it ready;
// promote also decides whether it keeps a lane that it holds.
func (m *model) queue(j *mjob) {
	switch {
	case j.spec.LaneKey == "":
		j.held = false
		m.ready(j)
	case j.held:
		j.table = "again" // promote knows what else became of the lane
	default:
		j.table, j.held = "wait", false
	}
}

func (m *model) enqueue(id hostler.JobID, s hostler.JobSpec) {
	j := &mjob{spec: s, id: id, ttl: !s.ExpiresAt.IsZero()}
	m.jobs[id] = j
	if s.LaneKey != "" {
		m.lane(s.LaneKey).lim = max(1, s.LaneLimit)
		m.use(s.LaneKey, s.Project)
	}
	if s.RunAt.After(m.now) {
		j.table, j.runAt = "sched", s.RunAt
		return
	}
	m.arrive(j, m.now)
	m.queue(j)
}

// claim returns the jobs that a claim leases, in order. Each is the best one of the
// project whose turn it is: of those that run the fewest jobs, the one that was served
// least.
func (m *model) claim(w hostler.WorkerID, n int) []hostler.JobID {
	capacity := map[string]int{}
	for name, q := range m.queues {
		capacity[name] = n
		if q.lim > 0 {
			capacity[name] = min(n, q.lim-m.running(name))
		}
		if q.paused {
			capacity[name] = 0
		}
	}
	m.endReservations()
	var out []hostler.JobID
	for range n {
		j := m.nextInTurn(w, capacity)
		if j == nil {
			break
		}
		capacity[j.spec.Queue]--
		j.chosen = true
		if j.ttl && !j.spec.ExpiresAt.After(m.now) {
			continue // expire ends it
		}
		out = append(out, j.id)
	}
	for _, j := range m.jobs {
		if slices.Contains(out, j.id) {
			j.table, j.worker, j.ttl = "running", w, false
			j.attempt++
			j.fence++
		}
		j.chosen = false
	}
	return out
}

// endReservations lets any worker claim the jobs whose reservation has lapsed.
func (m *model) endReservations() {
	for _, j := range m.jobs {
		if j.table == "ready" && (!j.affinityUntil.After(m.now) || j.affinityUntil.After(m.now.Add(400*time.Millisecond))) {
			j.affinity = 0
		}
	}
}

// nextInTurn returns the next job that a worker leases.
func (m *model) nextInTurn(w hostler.WorkerID, capacity map[string]int) *mjob {
	best := map[hostler.ProjectID]*mjob{}
	running := map[hostler.ProjectID]int{}
	here, slots := map[hostler.ProjectID]int{}, machineSlots // what runs on w, and its free slots
	for _, j := range m.jobs {
		if j.chosen || j.table == "running" && j.worker == w {
			here[j.spec.Project]++
			slots--
		}
		if j.chosen || j.table == "running" {
			running[j.spec.Project]++
		}
	}
	for _, j := range m.ordered() {
		p := j.spec.Project
		if slots <= 1 && here[p] > 0 {
			continue // the last slot is kept for projects that run nothing on w
		}
		free := j.affinity == 0 || j.affinity == w
		if j.table != "ready" || j.chosen || !free || capacity[j.spec.Queue] <= 0 {
			continue
		}
		if best[p] == nil || byRank(j, best[p]) < 0 {
			best[p] = j
		}
	}
	if len(best) == 0 {
		return nil
	}
	projects := slices.Collect(maps.Keys(best))
	served := func(p hostler.ProjectID) int { return max(m.served[p], m.turn) }
	next := slices.MinFunc(projects, func(a, b hostler.ProjectID) int {
		return cmp.Or(cmp.Compare(running[a], running[b]), cmp.Compare(served(a), served(b)), byRank(best[a], best[b]))
	})
	m.turn = max(m.turn, served(slices.MinFunc(projects, func(a, b hostler.ProjectID) int {
		return cmp.Compare(served(a), served(b))
	})))
	m.served[next] = served(next) + 1
	return best[next]
}

func byRank(a, b *mjob) int { return cmp.Or(a.rank.Compare(b.rank), cmp.Compare(a.id, b.id)) }

func (m *model) running(queue string) int {
	n := 0
	for _, j := range m.jobs {
		if j.table == "running" && j.spec.Queue == queue {
			n++
		}
	}
	return n
}

// end moves a job to the history with its final state.
func (m *model) end(j *mjob, s hostler.State) {
	j.table, j.held = "done:"+string(s), false
}

func (m *model) finish(j *mjob, r hostler.Report) {
	m.recordOwner(j)
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
		j.table = "sched"
		if j.spec.LaneKey == "" || j.spec.OnRetry == hostler.OnRetryRelease || m.lane(j.spec.LaneKey).project == -1 {
			j.held = false
		}
	}
}

func (m *model) lost(j *mjob) {
	m.recordOwner(j)
	switch {
	case j.spec.OnLost == hostler.OnLostRetry && j.cancel:
		m.end(j, hostler.StateCancelled)
	case j.spec.OnLost == hostler.OnLostRetry && j.losses < hostler.MaxLosses:
		j.attempt--
		j.losses++
		m.queue(j)
	case j.spec.OnLost == hostler.OnLostAsk:
		j.table = "parked"
		if j.spec.OnUnknown == hostler.OnUnknownRelease {
			j.held = false
		}
	default:
		m.end(j, hostler.StateFailed)
	}
}

// due queues the scheduled jobs that are due. A job's run time is its arrival.
func (m *model) due() {
	due := slices.DeleteFunc(m.ordered(), func(j *mjob) bool { return j.table != "sched" || j.runAt.After(m.now) })
	slices.SortStableFunc(due, func(a, b *mjob) int { return a.runAt.Compare(b.runAt) })
	for _, j := range due {
		m.arrive(j, j.runAt)
		m.queue(j)
	}
}

// relane moves the live jobs of an asset to the lane of another device. Jobs that hold
// the old lane hold the new one, the others queue there in the order of their arrival.
func (m *model) relane(asset hostler.AssetID, from, to string) {
	for _, j := range m.ordered() {
		if j.spec.Asset != asset || strings.HasPrefix(j.table, "done") {
			continue
		}
		old, l := m.lanes[from], m.lane(to)
		if old != nil && old.arrived.After(l.arrived) {
			l.arrived = old.arrived
		}
		if old != nil {
			m.use(to, old.project)
		}
		if j.spec.LaneKey != from {
			continue
		}
		j.spec.LaneKey = to
		m.lane(to).lim = 1
		if j.table == "wait" || j.table == "ready" {
			j.table, j.held = "wait", false
			if l := m.lane(to); j.queuedAt.After(l.arrived) {
				l.arrived = j.queuedAt
			}
		}
	}
	if m.lanes[to] != nil {
		m.use(to, 0) // jobs that moved there
	}
}

// rehost moves the live jobs of ad-hoc hosts to the lane of a device, as relane does.
func (m *model) rehost(to string) {
	for _, j := range m.ordered() {
		from := j.spec.LaneKey
		if !onDeviceOfHost(j.spec) || strings.HasPrefix(j.table, "done") || from == to {
			continue
		}
		l := m.lane(to)
		l.lim = 1
		if old := m.lanes[from]; old.arrived.After(l.arrived) {
			l.arrived = old.arrived
		}
		j.spec.LaneKey = to
		m.use(to, j.spec.Project)
		if j.table == "wait" || j.table == "ready" {
			j.table, j.held = "wait", false
		}
	}
}

// requeue queues the ready jobs again of lanes that are closed, or have more jobs than
// they may, after a change of a device key.
func (m *model) requeue(lanes ...string) {
	for _, j := range m.ordered() {
		key := j.spec.LaneKey
		if j.table == "ready" && (slices.Contains(m.closed, key) ||
			slices.Contains(lanes, key) && m.inflight(key) > m.lane(key).lim) {
			j.table = "again"
		}
	}
}

func (m *model) expire() {
	for _, j := range m.ordered() {
		waiting := j.table == "sched" || j.table == "wait" || j.table == "ready"
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
		if j.table == "ready" && j.spec.Queue == name && j.spec.LaneKey != "" {
			j.table, j.held = "wait", false
		}
	}
}

// jobTables returns the expected result of store.Tx.JobTables.
func (m *model) jobTables() map[int64]string {
	out := map[int64]string{}
	for id, j := range m.jobs {
		table := j.table
		if j.held && j.spec.LaneKey != "" && (table == "sched" || table == "parked") {
			table += "+held"
		}
		out[int64(id)] = table
	}
	return out
}

// inReady returns the jobs that are ready.
func (m *model) inReady() (ids []hostler.JobID) {
	for _, j := range m.ordered() {
		if j.table == "ready" {
			ids = append(ids, j.id)
		}
	}
	return ids
}
