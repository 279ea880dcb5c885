package rest

import (
	"context"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
)

// This file counts refused requests, and slows down who tries keys.

// Refusal is a request that was refused for its key or for its caller's role.
type Refusal struct {
	Code   hostler.Code // unauthenticated, forbidden or rate_limited
	Addr   string       // of the client
	Route  string       // the pattern of the path; "" when none matched
	Caller auth.Caller  // the zero one without a valid key
	// Count is how many refusals this record stands for: those of the same kind since the
	// last record are in it. 0 is a refusal that is counted in metrics only.
	Count int
}

// The limits on refusals.
const (
	keyTries     = 20               // keys that are not valid, from one address at once
	keyTryEvery  = 2 * time.Second  // after which an address has one more try; see screen
	recordEvery  = time.Minute      // between two records of the same kind
	recordMost   = 60               // records in that time, of all kinds
	goodKeySpan  = 10 * time.Minute // how long a valid key is exempt from the limit
	maxRefusals  = 10_000           // entries of each map; a full one is emptied
	retrySeconds = 2
)

// refusals limits failing keys by address, and the records of refusals.
type refusals struct {
	now    func() time.Time
	screen screen

	mu       sync.Mutex // guards the fields below
	tries    map[netip.Prefix]tries
	good     map[string]time.Time // valid keys, by their hash: until when they are exempt
	kinds    map[refusalKind]refusalCount
	began    time.Time // of the current recordEvery
	recorded int       // in it
}

// tries are the failing keys of an address: a bucket that drains by one every keyTryEvery.
type tries struct {
	n  float64
	at time.Time
}

// refusalKind groups refusals for records.
type refusalKind struct {
	code hostler.Code
	addr netip.Prefix
	user hostler.UserID
}

type refusalCount struct {
	next time.Time // when the next one is recorded
	n    int       // since the last record
}

func newRefusals(
	now func() time.Time, known func(context.Context, []string) (map[string]bool, error),
) *refusals {
	return &refusals{
		now: now, screen: screen{known: known}, tries: map[netip.Prefix]tries{}, good: map[string]time.Time{},
		kinds: map[refusalKind]refusalCount{},
	}
}

// network is the part of an address that one client controls: all of an IPv4 address, and
// the network of an IPv6 one.
func network(addr string) netip.Prefix {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return netip.Prefix{}
	}
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // the length fits
	return p
}

// admit refuses a key that is not valid, from an address that has tried too many of them.
// Others behind the same address must not suffer from it: keys that were valid a while ago
// are exempt, and the rest are screened.
func (f *refusals) admit(ctx context.Context, addr, key string) error {
	if f.below(addr, key) {
		return nil
	}
	valid := false
	if auth.ParseKey(key) == nil {
		var err error
		if valid, err = f.screen.valid(ctx, key); err != nil {
			return err
		}
	}
	if valid {
		return nil
	}
	return errManyKeys()
}

// below reports whether a key is looked up without being screened.
func (f *refusals) below(addr, key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	return now.Before(f.good[auth.HashKey(key)]) || f.level(network(addr), now)+1 <= keyTries
}

func (f *refusals) level(p netip.Prefix, now time.Time) float64 {
	t := f.tries[p]
	return max(0, t.n-float64(now.Sub(t.at))/float64(keyTryEvery))
}

// tried notes whether a key was valid.
func (f *refusals) tried(addr, key string, valid bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, p := f.now(), network(addr)
	if valid {
		bound(f.good)
		f.good[auth.HashKey(key)] = now.Add(goodKeySpan)
		return
	}
	delete(f.good, auth.HashKey(key))
	bound(f.tries)
	f.tries[p] = tries{min(keyTries, f.level(p, now)+1), now}
}

// record returns how many refusals a record of this one stands for; 0 when it is not to
// be recorded now.
func (f *refusals) record(code hostler.Code, addr string, user hostler.UserID) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, kind := f.now(), refusalKind{code, network(addr), user}
	bound(f.kinds)
	c := f.kinds[kind]
	c.n++
	f.kinds[kind] = c
	if now.Sub(f.began) >= recordEvery {
		f.began, f.recorded = now, 0
	}
	if now.Before(c.next) || f.recorded >= recordMost {
		return 0
	}
	f.recorded++
	f.kinds[kind] = refusalCount{next: now.Add(recordEvery)}
	return c.n
}

// bound empties a map that is full.
func bound[K comparable, V any](m map[K]V) {
	if len(m) >= maxRefusals {
		clear(m)
	}
}

// requestKey is the key of a request's *requestInfo in its context.
type requestKey struct{}

// requestInfo is what is known of a request when it is refused. core and dialect are those of
// plain routes.
type requestInfo struct {
	caller  auth.Caller
	core    *core
	dialect *Dialect
}

func withInfo(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), requestKey{}, &requestInfo{}))
}

func infoOf(r *http.Request) *requestInfo {
	info, _ := r.Context().Value(requestKey{}).(*requestInfo)
	return info
}

// Login authenticates a key that a plain route does not get from a header, such as the field
// of a form, within the limits and with the records of those in headers.
func Login(r *http.Request, key, project string) (auth.Caller, error) {
	info := infoOf(r)
	return info.core.login(r.Context(), r, info.dialect, key, project)
}

// WrongSecret counts and records a secret in the path of a plain route that is not valid, like
// a key. It returns an error if the address has sent too many of them.
func WrongSecret(r *http.Request) error {
	c := infoOf(r).core
	addr := c.clientAddr(r)
	if !c.refusals.below(addr, "") {
		return errManyKeys()
	}
	c.refusals.tried(addr, "", false)
	c.refused(r, hostler.CodeUnauthenticated)
	return nil
}

// ClientAddr is the address of the client of a request to a plain route.
func ClientAddr(r *http.Request) string { return infoOf(r).core.clientAddr(r) }

func errManyKeys() error {
	e := hostler.Errorf(hostler.CodeRateLimited,
		"too many API keys or links that are not valid were sent from this address; try again later",
		"来自此地址的无效 API 密钥或链接过多；请稍后再试")
	e.RetryAfter = retrySeconds
	return e
}

// refused counts and records a refusal.
func (s *core) refused(r *http.Request, code hostler.Code) {
	switch code {
	case hostler.CodeUnauthenticated, hostler.CodeForbidden, hostler.CodeRateLimited:
	default:
		return
	}
	ref := Refusal{Code: code, Addr: s.clientAddr(r), Route: r.Pattern}
	if info := infoOf(r); info != nil {
		ref.Caller = info.caller
	}
	ref.Count = s.refusals.record(code, ref.Addr, ref.Caller.UserID)
	if ref.Count > 0 {
		s.cfg.Log.WarnContext(r.Context(), "refused", "code", string(code), "address", ref.Addr,
			"user", ref.Caller.User, "key", ref.Caller.Key, "route", ref.Route, "count", ref.Count)
	}
	s.cfg.Refused(r.Context(), ref)
}

// clientAddr is the address of the client.
func (s *core) clientAddr(r *http.Request) string {
	return clientAddr(r, s.cfg.TrustedProxies, s.cfg.ForwardedHeader)
}
