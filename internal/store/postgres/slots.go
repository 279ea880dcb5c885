package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// Connections reserved for the higher classes; see [sqldb.Class].
const (
	leaseConns = 2 // for Leases alone
	workConns  = 4 // for Work and Leases
)

// slots limits how many connections each class of transactions may hold. A
// transaction takes a slot of each limit that applies to it, the narrowest first:
// lists, reads of requests, requests, everything except leases.
type slots struct{ lists, reads, requests, work chan struct{} }

func newSlots(maxConns int) slots {
	work := max(2, maxConns-leaseConns)  // 2: maintenance uses a second connection
	requests := max(1, work-workConns)   // in a small pool classes share connections
	reads := max(1, requests-requests/4) // leaves slots for writes
	return slots{
		lists: make(chan struct{}, max(1, reads/2)),
		reads: make(chan struct{}, reads), requests: make(chan struct{}, requests), work: make(chan struct{}, work),
	}
}

// limits returns the limits that apply to a transaction.
func (s *slots) limits(class sqldb.Class, read bool) []chan struct{} {
	switch {
	case class >= sqldb.Leases:
		return nil
	case class == sqldb.Work:
		return []chan struct{}{s.work}
	case class <= sqldb.Lists:
		return []chan struct{}{s.lists, s.reads, s.requests, s.work}
	case read:
		return []chan struct{}{s.reads, s.requests, s.work}
	default:
		return []chan struct{}{s.requests, s.work}
	}
}

// acquire returns a connection for a transaction of a class. It waits until one is
// free or ctx ends.
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

// busy returns the error for a transaction that got no connection in time.
func busy(cause error) error {
	if errors.Is(cause, context.Canceled) {
		return cause
	}
	e := hostler.Errorf(hostler.CodeUnavailable, "too many requests are waiting for the database; try again",
		"等待数据库的请求过多，请重试")
	e.Cause = cause
	return e
}
