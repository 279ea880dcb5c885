package rest

import (
	"sync"
	"time"
)

// alertEvery is how often one limit is logged: an attacker must not fill the log.
const alertEvery = 10 * time.Second

// alerts decides when a limit that was reached is logged: at most once in alertEvery.
// The zero value is ready to use.
type alerts struct {
	mu    sync.Mutex
	limit map[string]*alert
}

type alert struct {
	last  time.Time
	count int // since then
}

// due counts that a limit was reached. It reports whether to log it, and how often it
// was reached since the last time. The names of limits are few and constant.
func (a *alerts) due(limit string) (times int, now bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.limit == nil {
		a.limit = map[string]*alert{}
	}
	at := a.limit[limit]
	if at == nil {
		at = &alert{}
		a.limit[limit] = at
	}
	at.count++
	if time.Since(at.last) < alertEvery {
		return 0, false
	}
	times = at.count
	at.last, at.count = time.Now(), 0
	return times, true
}
