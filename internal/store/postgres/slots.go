package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// Connections of the pool that are reserved for the higher classes; see [sqldb.Class].
const (
	leaseConns = 2 // for Leases alone
	workConns  = 4 // for Work and Leases
)

// slots limits how many connections each class of transactions may hold. A
// transaction takes a slot of each limit that counts it, the narrowest first:
// reads of requests, requests, everything but leases.
type slots struct{ reads, requests, work chan struct{} }

func newSlots(maxConns int) slots {
	work := max(2, maxConns-leaseConns)  // 2: maintenance takes one beside its own
	requests := max(1, work-workConns)   // a small pool is shared
	reads := max(1, requests-requests/4) // so that reads do not keep out writes
	return slots{
		reads: make(chan struct{}, reads), requests: make(chan struct{}, requests), work: make(chan struct{}, work),
	}
}

// limits returns the limits that count a transaction.
func (s *slots) limits(class sqldb.Class, read bool) []chan struct{} {
	switch {
	case class >= sqldb.Leases:
		return nil
	case class == sqldb.Work:
		return []chan struct{}{s.work}
	case read:
		return []chan struct{}{s.reads, s.requests, s.work}
	default:
		return []chan struct{}{s.requests, s.work}
	}
}

// acquire takes a connection for a transaction of a class. It waits until one is
// free, or for the end of ctx.
func (db *DB) acquire(ctx context.Context, class sqldb.Class, read bool) (c *pgxpool.Conn, release func(), err error) {
	var taken []chan struct{}
	free := func() {
		for _, slot := range taken {
			<-slot
		}
	}
	for _, slot := range db.slots.limits(class, read) {
		select {
		case slot <- struct{}{}:
			taken = append(taken, slot)
		case <-ctx.Done():
			free()
			return nil, nil, busy(ctx.Err())
		}
	}
	if c, err = db.pool.Acquire(ctx); err != nil {
		free()
		return nil, nil, fmt.Errorf("connect: %w", err)
	}
	return c, func() { c.Release(); free() }, nil
}

// with runs fn with a connection, outside of a transaction.
func (db *DB) with(ctx context.Context, class sqldb.Class, fn func(c *pgxpool.Conn) error) error {
	c, release, err := db.acquire(ctx, class, false)
	if err != nil {
		return err
	}
	defer release()
	return fn(c)
}

// busy is the answer to a transaction that found no connection in time.
func busy(cause error) error {
	if errors.Is(cause, context.Canceled) {
		return cause
	}
	e := hostler.Errorf(hostler.CodeUnavailable, "too many requests wait for the database; try again",
		"等待数据库的请求过多，请重试")
	e.Cause = cause
	return e
}
