package store

import (
	"cmp"
	"math"
	"slices"
	"sync"

	"hostler.dev/hostler"
)

// This file lets projects take turns. The next job of a claim is one of the project that
// runs the fewest jobs for its weight: however many jobs a project queues, and however
// long they run, the others get their share of the slots. Among projects that run
// equally many it is the one whose turn it is (stride scheduling; Waldspurger and Weihl,
// 1995), and of its jobs the best ranked one.
//
// Turns come only when slots become free, and a job may run for hours. So where there are
// several projects, a worker keeps some slots for those that run nothing on it: see
// keptSlots. An admin may give a project a weight, and limit how many jobs it runs; a
// claim locks the limits that it applies, as it does with those of queues.

// stride is how far a turn moves a project of weight 1 back.
const stride = 1 << 20

// fairness remembers whose turn it is among the claims of this server. It is a hint:
// nothing else depends on it, and it is empty after a start.
type fairness struct {
	mu sync.Mutex
	// now is the turn of the project that was served last.
	now int64
	// next is the turn of each project, where it is later than now.
	next map[hostler.ProjectID]int64
}

// turns is a copy of the fairness for one claim.
type turns struct {
	now  int64
	next map[hostler.ProjectID]int64
}

// turn returns when it is a project's turn. One that queued nothing for a while saved up
// no turns.
func (t *turns) turn(p hostler.ProjectID) int64 { return max(t.next[p], t.now) }

// serve notes that a project was served when the earliest turn was at now.
func (t *turns) serve(p hostler.ProjectID, now, weight int64) {
	t.now = max(t.now, now)
	t.next[p] = t.turn(p) + stride/weight
}

func (f *fairness) turns(projects []hostler.ProjectID) turns {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := turns{now: f.now, next: make(map[hostler.ProjectID]int64, len(projects))}
	for _, p := range projects {
		t.next[p] = f.next[p]
	}
	return t
}

// advance takes over the turns of a claim that was committed.
func (f *fairness) advance(t turns) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = max(f.now, t.now)
	if f.next == nil {
		f.next = map[hostler.ProjectID]int64{}
	}
	for p, at := range t.next {
		f.next[p] = max(f.next[p], at)
	}
	for p, at := range f.next {
		if at <= f.now {
			delete(f.next, p)
		}
	}
}

// keptSlots is how many slots of a worker are kept for projects that run nothing on it.
func keptSlots(slots int64) int64 {
	if slots < 4 {
		return 0
	}
	return max(1, slots/16)
}

// usage is what a worker runs, while a claim gives it jobs.
type usage struct {
	free, kept int64
	runs       map[hostler.ProjectID]bool
}

// usage reads what the worker runs. Without other projects it is nil: nothing is kept.
func (c *claim) usage() (*usage, error) {
	kept := keptSlots(c.slots)
	if !c.shared || kept == 0 {
		return nil, nil
	}
	u := &usage{free: c.slots, kept: kept, runs: map[hostler.ProjectID]bool{}}
	type busy struct {
		Project hostler.ProjectID `db:"project"`
		N       int64             `db:"count(*)"`
	}
	return u, queryEach(c.tx, `SELECT @cols FROM running WHERE worker = ? GROUP BY project`, []any{c.worker},
		func(b *busy) error {
			u.free -= b.N
			u.runs[b.Project] = true
			return nil
		})
}

// admits reports whether the worker may take another job of a project.
func (u *usage) admits(p hostler.ProjectID) bool { return u == nil || u.free > u.kept || !u.runs[p] }

func (u *usage) take(p hostler.ProjectID) {
	if u != nil {
		u.free--
		u.runs[p] = true
	}
}

// contender is a project with ready jobs, in a claim.
type contender struct {
	project hostler.ProjectID
	jobs    []candidate // the best ranked first
	running int64
	room    int64 // how many more jobs it may run
	weight  int64
}

// before reports whether a project is served before another.
func (t *turns) before(a, b *contender) int {
	return cmp.Or(
		cmp.Compare(a.running*b.weight, b.running*a.weight),
		cmp.Compare(t.turn(a.project), t.turn(b.project)),
		byRank(a.jobs[0], b.jobs[0]),
	)
}

// readLimits reads the limits of projects, and how many jobs the limited ones run.
func (c *claim) readLimits(projects []hostler.ProjectID) (err error) {
	if c.limits, err = c.lockLimits(projects); err != nil {
		return err
	}
	var capped []hostler.ProjectID
	for p, l := range c.limits {
		if l.MaxRunning > 0 {
			capped = append(capped, p)
		}
	}
	if len(capped) == 0 {
		return nil
	}
	// In a statement after the lock: it counts the claims that went before.
	c.running, err = c.tx.runningOf(capped)
	return err
}

// room returns how many more jobs a project may run.
func (c *claim) room(p hostler.ProjectID) int64 {
	if l := c.limits[p]; l.MaxRunning > 0 {
		return l.MaxRunning - c.running[p]
	}
	return math.MaxInt64
}

// runningOf counts the running jobs of projects.
func (tx *Tx) runningOf(projects []hostler.ProjectID) (map[hostler.ProjectID]int64, error) {
	type busy struct {
		Project hostler.ProjectID `db:"project"`
		N       int64             `db:"count(*)"`
	}
	out := make(map[hostler.ProjectID]int64, len(projects))
	return out, queryEach(tx, `SELECT @cols FROM running WHERE project IN ?* GROUP BY project`, []any{projects},
		func(b *busy) error {
			out[b.Project] = b.N
			return nil
		})
}

// takeTurns chooses up to n jobs of the candidates, in the order of their turns.
// capacity is how many more jobs a limited queue may run.
func (c *claim) takeTurns(found []candidate, capacity map[string]int64) ([]candidate, error) {
	rivals, err := c.contenders(found)
	if err != nil {
		return nil, err
	}
	projects := make([]hostler.ProjectID, len(rivals))
	for i := range rivals {
		projects[i] = rivals[i].project
	}
	used, err := c.usage()
	if err != nil {
		return nil, err
	}
	t := c.tx.fair.turns(projects)
	var taken []candidate
	for len(taken) < c.n {
		rivals = slices.DeleteFunc(rivals, func(r *contender) bool {
			r.jobs = openJobs(r.jobs, capacity)
			withheld := len(r.jobs) > 0 && (r.room <= 0 || !used.admits(r.project))
			c.withheld = c.withheld || withheld
			return len(r.jobs) == 0 || withheld
		})
		if len(rivals) == 0 {
			break
		}
		next := slices.MinFunc(rivals, t.before)
		earliest := t.turn(slices.MinFunc(rivals, func(a, b *contender) int {
			return cmp.Compare(t.turn(a.project), t.turn(b.project))
		}).project)
		t.serve(next.project, earliest, next.weight)
		job := next.jobs[0]
		next.jobs = next.jobs[1:]
		next.running++
		next.room--
		used.take(next.project)
		if _, limited := capacity[job.Queue]; limited {
			capacity[job.Queue]--
		}
		taken = append(taken, job)
	}
	c.tx.onCommit = append(c.tx.onCommit, func() { c.tx.fair.advance(t) })
	return taken, nil
}

// openJobs drops jobs from the front whose queue runs as many as it may.
func openJobs(jobs []candidate, capacity map[string]int64) []candidate {
	for len(jobs) > 0 {
		if left, limited := capacity[jobs[0].Queue]; !limited || left > 0 {
			break
		}
		jobs = jobs[1:]
	}
	return jobs
}

// contenders sorts candidates by project, and reads how many jobs each one runs.
func (c *claim) contenders(found []candidate) ([]*contender, error) {
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.Project, b.Project), byRank(a, b))
	})
	var out []*contender
	of := map[hostler.ProjectID]*contender{}
	for i := range found {
		p := found[i].Project
		if of[p] == nil {
			of[p] = &contender{project: p, room: c.room(p), weight: max(1, c.limits[p].Weight)}
			out = append(out, of[p])
		}
		of[p].jobs = append(of[p].jobs, found[i])
	}
	if len(out) < 2 {
		return out, nil
	}
	type busy struct {
		Project hostler.ProjectID `db:"project"`
		N       int64             `db:"count(*)"`
	}
	return out, queryEach(c.tx, `SELECT @cols FROM running GROUP BY project`, nil, func(b *busy) error {
		if r := of[b.Project]; r != nil {
			r.running = b.N
		}
		return nil
	})
}
