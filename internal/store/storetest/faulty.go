package storetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// ErrInjected is the cause of the errors that [Faulty] returns.
var ErrInjected = errors.New("injected fault")

// Faulty wraps a driver and makes some of its transactions fail.
type Faulty struct {
	sqldb.Driver
	mu            sync.Mutex
	rand          *rand.Rand
	before, after float64
}

// NewFaulty wraps d. No transaction fails until [Faulty.Set] is called.
func NewFaulty(d sqldb.Driver, seed uint64) *Faulty {
	return &Faulty{Driver: d, rand: rand.New(rand.NewPCG(seed, 0))} //nolint:gosec // repeatable on purpose
}

// Set sets the rates, from 0 to 1, at which writing transactions fail: before the commit,
// without effect and with CodeUnavailable, and after it, with a *sqldb.AmbiguousError.
func (f *Faulty) Set(before, after float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before, f.after = before, after
}

func (f *Faulty) draw() (before, after bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.rand.Float64()
	return r < f.before, r >= f.before && r < f.before+f.after
}

// InTx implements sqldb.Driver.
func (f *Faulty) InTx(ctx context.Context, fn func(c sqldb.Conn) error) error {
	before, after := f.draw()
	err := f.Driver.InTx(ctx, func(c sqldb.Conn) error {
		if err := fn(c); err != nil {
			return err
		}
		if before {
			return injected()
		}
		return nil
	})
	if err == nil && after {
		return &sqldb.AmbiguousError{Err: ErrInjected}
	}
	return err
}

func injected() error {
	e := hostler.Errorf(hostler.CodeUnavailable, "the store is unavailable", "存储不可用")
	e.Cause = ErrInjected
	return e
}
