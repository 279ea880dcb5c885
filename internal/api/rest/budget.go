package rest

import (
	"context"
	"sync"
	"time"

	"hostler.dev/hostler"
)

// bodiesInFlight is how many bytes of bodies all requests together may hold.
func bodiesInFlight(bodyLimit int64) int64 { return max(32<<20, 4*bodyLimit) }

const (
	// listBytes is what a list takes while it is read, encoded and sent: a page has some
	// megabytes of texts at most.
	listBytes = 8 << 20
	// listsInFlight is what all lists together may take.
	listsInFlight = 8 * listBytes
)

// budget bounds an amount that requests hold together. One user holds at most half of
// it.
type budget struct {
	most int64

	mu     sync.Mutex // guards the fields below
	held   int64
	byUser map[hostler.UserID]int64
	freed  chan struct{} // closed by the next release
}

func newBudget(most int64) *budget {
	return &budget{most: most, byUser: map[hostler.UserID]int64{}, freed: make(chan struct{})}
}

// acquire takes n of the budget until release is called, once. The error is
// CodeRateLimited when the user has too much of it, and else CodeUnavailable.
func (b *budget) acquire(u hostler.UserID, n int64) (release func(), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byUser[u]+n > b.most/2 {
		return nil, hostler.Errorf(hostler.CodeRateLimited,
			"your requests at the same time are larger than the memory of this server allows; "+
				"send them one after the other",
			"您同时进行的请求超过此服务器的内存上限；请依次发送")
	}
	if b.held+n > b.most {
		return nil, hostler.Errorf(hostler.CodeUnavailable,
			"the requests of all users are larger than the memory of this server allows; try again later",
			"所有用户同时进行的请求超过此服务器的内存上限；请稍后再试")
	}
	b.held += n
	b.byUser[u] += n
	return func() { b.release(u, n) }, nil
}

// wait is acquire that waits until there is enough, for at most patience.
func (b *budget) wait(ctx context.Context, u hostler.UserID, n int64, patience time.Duration) (func(), error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		b.mu.Lock()
		freed := b.freed // before acquire: no release in between is missed
		b.mu.Unlock()
		release, err := b.acquire(u, n)
		if err == nil {
			return release, nil
		}
		select {
		case <-freed:
		case <-timer.C:
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (b *budget) release(u hostler.UserID, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held -= n
	if b.byUser[u] -= n; b.byUser[u] == 0 {
		delete(b.byUser, u)
	}
	close(b.freed)
	b.freed = make(chan struct{})
}
