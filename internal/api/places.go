package api

import (
	"sync"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
)

// places bounds how many streams of one kind are open at once. One user holds at
// most half of them, so that others can follow too. Users count, not keys, because
// everybody may make more keys.
type places struct {
	most int
	kind hostler.Text // of streams, for errors

	mu     sync.Mutex // guards what follows
	taken  int
	byUser map[hostler.UserID]int
}

func newPlaces(most int, kind hostler.Text) *places {
	return &places{most: most, kind: kind, byUser: map[hostler.UserID]int{}}
}

// take takes a place for as long as a stream lasts; leave gives it back, once.
// CodeRateLimited: there is none.
func (p *places) take(c auth.Caller) (leave func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	half := (p.most + 1) / 2
	if p.byUser[c.UserID] >= half {
		return nil, hostler.Errorf(hostler.CodeRateLimited,
			"your keys have %[1]d %[2]s open; one user has no more than half of what this server offers: end some of them",
			"您的密钥已打开 %[1]d 个%[3]s；一个用户最多占用此服务器的一半：请结束其中一些", half, p.kind.EN, p.kind.ZH)
	}
	if p.taken >= p.most {
		return nil, hostler.Errorf(hostler.CodeRateLimited,
			"this server offers %[1]d %[2]s at once, and all are taken; try again soon",
			"此服务器最多同时提供 %[1]d 个%[3]s，已全部占用；请稍后再试", p.most, p.kind.EN, p.kind.ZH)
	}
	p.taken++
	p.byUser[c.UserID]++
	return func() { p.leave(c.UserID) }, nil
}

func (p *places) leave(u hostler.UserID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.byUser[u]--; p.byUser[u] == 0 {
		delete(p.byUser, u)
	}
}
