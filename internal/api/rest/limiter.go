package rest

import (
	"sync"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
)

// Limiter bounds the number of open streams of one kind. A user holds at most half
// of them, so that others can open some too. It counts users and not keys, because a
// user can create any number of keys.
type Limiter struct {
	most int
	kind hostler.Text // of streams, for errors

	mu     sync.Mutex // guards the fields below
	open   int
	byUser map[hostler.UserID]int
}

// NewLimiter returns a limiter of at most most streams; kind names them in errors.
func NewLimiter(most int, kind hostler.Text) *Limiter {
	return &Limiter{most: most, kind: kind, byUser: map[hostler.UserID]int{}}
}

// Acquire counts a stream until release is called, which happens exactly once. The
// error is CodeRateLimited when the caller or the server has too many open.
func (l *Limiter) Acquire(c auth.Caller) (release func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	half := (l.most + 1) / 2
	if l.byUser[c.UserID] >= half {
		return nil, hostler.Errorf(hostler.CodeRateLimited,
			"your keys have %[1]d %[2]s open; one user has no more than half of what this server offers: close some of them",
			"您的密钥已打开 %[1]d 个%[3]s；一个用户最多占用此服务器的一半：请关闭其中一些", half, l.kind.EN, l.kind.ZH)
	}
	if l.open >= l.most {
		return nil, hostler.Errorf(hostler.CodeRateLimited,
			"this server offers %[1]d %[2]s at once and all are in use; try again later",
			"此服务器最多同时提供 %[1]d 个%[3]s，已全部占用；请稍后再试", l.most, l.kind.EN, l.kind.ZH)
	}
	l.open++
	l.byUser[c.UserID]++
	return func() { l.release(c.UserID) }, nil
}

func (l *Limiter) release(u hostler.UserID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.byUser[u]--; l.byUser[u] == 0 {
		delete(l.byUser, u)
	}
}
