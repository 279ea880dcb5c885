package native

import (
	"sync"
	"time"

	"hostler.dev/hostler"
)

// glanceEvery is the least time between two looks at one job, however many follow it.
const glanceEvery = 100 * time.Millisecond

// glances lets all followers of a job share what one of them has seen: that there is nothing
// new. Whatever is new, each follower reads with the rights of its own caller.
type glances struct {
	mu  sync.Mutex
	all map[hostler.JobID]*glance // of the jobs that are followed
}

// glance is the last look at a job.
type glance struct {
	followers int // guarded by glances.mu

	mu   sync.Mutex // guards the fields below; held during a look, for which the others wait
	at   time.Time
	last int64 // the position of the newest line
	live bool  // the job had not ended
}

// join returns the glance of a job, and a function that the follower calls at its end.
func (g *glances) join(id hostler.JobID) (*glance, func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all == nil {
		g.all = map[hostler.JobID]*glance{}
	}
	one := g.all[id]
	if one == nil {
		one = &glance{}
		g.all[id] = one
	}
	one.followers++
	return one, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if one.followers--; one.followers == 0 {
			delete(g.all, id)
		}
	}
}

// unchanged reports that a job has not ended and has no line after a position. look returns
// the newest position and whether the job is live; after a failure the follower looks itself.
func (g *glance) unchanged(after int64, look func() (last int64, live bool, err error)) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.at) >= glanceEvery {
		last, live, err := look()
		if err != nil {
			return false
		}
		g.at, g.last, g.live = time.Now(), last, live
	}
	return g.live && g.last <= after
}
