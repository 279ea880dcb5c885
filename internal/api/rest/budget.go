package rest

import (
	"sync"

	"hostler.dev/hostler"
)

// bodiesInFlight is how many bytes of bodies all requests together may hold.
func bodiesInFlight(bodyLimit int64) int64 { return max(32<<20, 4*bodyLimit) }

// budget bounds an amount that requests hold together. One user holds at most half of
// it.
type budget struct {
	most int64

	mu     sync.Mutex // guards the fields below
	held   int64
	byUser map[hostler.UserID]int64
}

func newBudget(most int64) *budget { return &budget{most: most, byUser: map[hostler.UserID]int64{}} }

// acquire takes n of the budget until release is called, once. The error is
// CodeRateLimited when the user has too much of it, and else CodeUnavailable.
func (b *budget) acquire(u hostler.UserID, n int64) (release func(), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byUser[u]+n > b.most/2 {
		return nil, hostler.Errorf(hostler.CodeRateLimited,
			"your requests are larger than the memory of this server allows at once; send them one after the other",
			"您同时发送的请求总量超过此服务器的内存上限；请依次发送")
	}
	if b.held+n > b.most {
		return nil, hostler.Errorf(hostler.CodeUnavailable,
			"the requests of all users are larger than the memory of this server allows at once; try again later",
			"所有用户同时发送的请求总量超过此服务器的内存上限；请稍后再试")
	}
	b.held += n
	b.byUser[u] += n
	return func() { b.release(u, n) }, nil
}

func (b *budget) release(u hostler.UserID, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held -= n
	if b.byUser[u] -= n; b.byUser[u] == 0 {
		delete(b.byUser, u)
	}
}
