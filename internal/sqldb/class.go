package sqldb

import "context"

// Class is the purpose of a transaction, which decides whose connections it may use
// when they are scarce. A higher class may use all those of the lower ones and some of
// its own, so that no number of slow requests keeps a worker from renewing its lease.
type Class int

// The classes, lowest first.
const (
	// Lists are requests that read many rows. They use a part of the connections of
	// Requests, so that what reads one row never waits for them.
	Lists Class = iota - 1
	// Requests is what people and programs ask for; the class of a context without
	// one. A driver limits how many run at once and how long a read may take.
	Requests
	// Work moves jobs: claim, report, resolve, rescue, publish.
	Work
	// Leases is what a worker loses its jobs without: the heartbeat.
	Leases
)

type classKey struct{}

// WithClass marks the transactions that are begun with the context.
func WithClass(ctx context.Context, c Class) context.Context {
	return context.WithValue(ctx, classKey{}, c)
}

// ClassOf is the class that WithClass set.
func ClassOf(ctx context.Context) Class {
	c, _ := ctx.Value(classKey{}).(Class)
	return c
}

// Classed returns d with transactions of class c.
func Classed(d Driver, c Class) Driver {
	if k, ok := d.(classed); ok {
		d = k.Driver
	}
	return classed{d, c}
}

type classed struct {
	Driver
	class Class
}

// InTx implements Driver.
func (d classed) InTx(ctx context.Context, fn func(c Conn) error) error {
	return d.Driver.InTx(WithClass(ctx, d.class), fn)
}

// View implements Driver.
func (d classed) View(ctx context.Context, fn func(c Conn) error) error {
	return d.Driver.View(WithClass(ctx, d.class), fn)
}

// Probe implements Driver.
func (d classed) Probe(ctx context.Context) error { return d.Driver.Probe(WithClass(ctx, d.class)) }

// Stats implements Driver.
func (d classed) Stats(ctx context.Context) (Stats, error) {
	return d.Driver.Stats(WithClass(ctx, d.class))
}
