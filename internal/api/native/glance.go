package native

import (
	"context"
	"sync"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/api/rest"
	"hostler.dev/hostler/internal/wait"
)

// glances lets all followers of a job share what one of them has seen: that there is nothing
// new. Whatever is new, each follower reads with the rights of its own caller.
type glances struct {
	mu  sync.Mutex
	all map[hostler.JobID]*glance // of the jobs that are followed
}

// firstLook is the wait before a look at a job that has just changed.
const firstLook = 100 * time.Millisecond

// glance is the last look at a job. Of the followers that wait, one at a time looks.
type glance struct {
	followers int           // guarded by glances.mu
	looking   chan struct{} // of one element, which the follower that looks has put there
	poll      wait.Backoff  // between looks; belongs to the follower that looks

	mu      sync.Mutex // guards the fields below
	last    int64      // the position of the newest line
	ended   bool
	changed chan struct{} // closed when one of them changes
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
		one = &glance{
			looking: make(chan struct{}, 1), changed: make(chan struct{}),
			poll: wait.Backoff{First: firstLook, Max: rest.RenewEvery, Factor: 1.5},
		}
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

// look returns the newest position of a job's output, and whether the job has ended.
type look func() (last int64, ended bool, err error)

// await waits until a job has ended or has lines after a position, which it reports as true.
// It also returns when a look fails, so that the follower looks itself; when change is closed;
// and, with false, after d.
func (g *glance) await(
	ctx context.Context, after int64, change <-chan struct{}, d time.Duration, look look,
) (changed bool) {
	next := g.since(after)
	if next == nil {
		// The follower has just read, and found nothing. It does not read without a pause.
		_, _ = wait.Signal(ctx, firstLook, change)
		return true
	}
	timeout := time.NewTimer(d)
	defer timeout.Stop()
	turn, due := g.looking, (<-chan time.Time)(nil) // due is set while it is this follower's turn
	defer func() {
		if due != nil {
			<-g.looking
		}
	}()
	for {
		select {
		case <-next:
			return true
		case <-change:
			return true
		case <-ctx.Done():
			return true
		case <-timeout.C:
			return false
		case turn <- struct{}{}:
			turn, due = nil, time.After(g.poll.Next())
		case <-due:
			if g.update(look) != nil {
				return true
			}
			due = time.After(g.poll.Next())
		}
	}
}

// since returns a channel that is closed when the job changes; nil when it has ended or has
// lines after a position.
func (g *glance) since(after int64) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended || g.last > after {
		return nil
	}
	return g.changed
}

// update looks at the job.
func (g *glance) update(look look) error {
	last, ended, err := look()
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if last != g.last || ended != g.ended {
		g.last, g.ended = last, ended
		g.poll.Reset()
		close(g.changed)
		g.changed = make(chan struct{})
	}
	return nil
}
