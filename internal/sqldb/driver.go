// Package sqldb is the layer between the store and a database: one interface for
// transactions and statements, which SQLite and PostgreSQL implement, and what both
// implementations share.
//
// # Model
//
// A [Driver] is an open database. It runs functions in transactions; inside one, a
// [Conn] runs statements and returns [Rows]. The package knows no table.
//
// # Neutral SQL
//
// SQL is written once, in a dialect-neutral form that each driver translates and
// caches with a [Rewriter]:
//
//   - "?" is a parameter; "IN ?*" matches a column against one []int64 or []string
//     parameter;
//   - "@rows" in [Conn.ExecRows] is replaced by the given rows as a table named v;
//   - FOR UPDATE, FOR SHARE and SKIP LOCKED are written as in PostgreSQL. SQLite has
//     a single writer and drops them;
//   - times are integer microseconds since 1970 UTC, booleans 0 and 1, JSON is text,
//     and no column is NULL: 0 and ” mean none.
//
// For example
//
//	UPDATE lane SET owner = v.owner FROM @rows WHERE lane.id = v.id
//
// updates many lanes: on PostgreSQL in one statement over unnest($1, $2), on SQLite
// as a prepared statement that runs once per row.
//
// # Row structs
//
// A row struct declares the columns of a table, or of a query, once. Every field with
// the tag db is a column of that name; fields of embedded structs count as its own:
//
//	type leaseRow struct {
//		Job   hostler.JobID   `db:"job"`
//		Fence int64           `db:"fence"`
//		At    time.Time       `db:"started_at"`
//		Args  json.RawMessage `db:"args,text"`
//	}
//
// Fields are integers (int, int64), strings, bools and bytes, or types made of them, and
// times: time.Time, or *time.Time with nil for none. The option text stores bytes in a
// text column. In a row struct that is only read, a column may be an expression.
// [NewBatch] binds row structs, a [Scanner] reads them, [Columns] lists their columns.
//
// # Notification
//
// After a commit the caller notifies topics ([Driver.Notify]); subscribers of a
// topic, on every server of the database, then look for changes. Notifications are
// hints: they may be merged, repeated, or arrive without a change.
package sqldb

import (
	"context"
	"errors"
	"time"
)

// Driver is an open database. sqlite.DB and postgres.DB implement it; the package
// storetest holds both to one suite.
type Driver interface {
	// Name is "sqlite" or "postgres".
	Name() string
	// Now is the database's clock.
	Now() time.Time
	// InTx runs fn in a read-write transaction and returns nil only once the
	// transaction is durable. fn may run more than once (deadlock, or a group
	// commit that failed for another member), so it must do no I/O but on c and
	// must reset what it returns. An *AmbiguousError reports that the commit may
	// or may not have happened.
	InTx(ctx context.Context, fn func(c Conn) error) error
	// View runs fn on a consistent snapshot; writes in it fail.
	View(ctx context.Context, fn func(c Conn) error) error
	// Notify notifies subscribers of the topics in this process at once, and those
	// on every other server of this database soon and debounced. It never blocks.
	Notify(topics TopicSet)
	// NotifyLocal notifies subscribers in this process only.
	NotifyLocal(topics TopicSet)
	// Subscribe returns a channel that receives after the topic was notified, by
	// any server of this database, and now and then without. The channel is closed
	// by stop.
	Subscribe(t Topic) (notified <-chan struct{}, stop func())
	// Maintain does periodic work: it creates partitions or segments of history
	// ahead of time, drops those older than keep, and runs checkpoints.
	Maintain(ctx context.Context, keep time.Duration) error
	// Accepts returns an error while the database takes no new work: its disk is full
	// or cannot be written, or its file is gone.
	Accepts() error
	// Probe writes something that nobody reads, and then does what Accepts does.
	Probe(ctx context.Context) error
	// Stats describes the database for /health.
	Stats(ctx context.Context) (Stats, error)
	// Close waits for running transactions and releases the database.
	Close() error
}

// Conn runs statements inside one transaction. It is used by one goroutine.
type Conn interface {
	// Exec runs a statement and returns the number of rows it changed.
	Exec(ctx context.Context, sql string, args ...any) (int64, error)
	// Query runs a statement that returns rows. The caller closes them before
	// the next statement.
	Query(ctx context.Context, sql string, args ...any) (Rows, error)
	// ExecRows runs one statement over many rows, in one round trip where the
	// database supports it. In sql, "@rows" is a table v with the batch's columns.
	ExecRows(ctx context.Context, sql string, rows Batch) (int64, error)
	// NewIDs allocates n ids, ascending, from the database's clock and sequence.
	NewIDs(ctx context.Context, n int) ([]int64, error)
	// Lock takes the transaction-scoped advisory lock with this number: shared,
	// or exclusive. On SQLite, which has a single writer, it does nothing.
	Lock(ctx context.Context, key int64, shared bool) error
	// InsertTable names the table that takes new rows of the history table
	// "done" (a segment on SQLite, the partitioned table on PostgreSQL).
	InsertTable(table string) string
}

// Rows are the rows of a query.
type Rows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
	Close()
}

// Stats describes a database.
type Stats struct {
	Kind      string        `json:"kind"`
	Version   string        `json:"version"`
	Latency   time.Duration `json:"-"`
	PoolInUse int           `json:"pool_in_use"`
	PoolMax   int           `json:"pool_max"`
	SizeBytes int64         `json:"size_bytes"`
	// DiskFree is the share of the disk that is free, 0 to 1; 1 when it is unknown.
	DiskFree float64 `json:"disk_free"`
}

// AmbiguousError reports that a commit was sent and its answer lost: the caller must
// check (by fence, by id, by idempotency key) before it acts again.
type AmbiguousError struct{ Err error }

func (e *AmbiguousError) Error() string { return "commit outcome unknown: " + e.Err.Error() }
func (e *AmbiguousError) Unwrap() error { return e.Err }

// IsAmbiguous reports whether err is or wraps an *AmbiguousError.
func IsAmbiguous(err error) bool {
	_, ok := errors.AsType[*AmbiguousError](err)
	return ok
}

type growKey struct{}

// Growing marks a context whose transaction creates new work. While the disk is
// full, a driver refuses such transactions with CodeDiskFull and reserves the
// remaining space for finishing what runs.
func Growing(ctx context.Context) context.Context {
	return context.WithValue(ctx, growKey{}, true)
}

// IsGrowing reports whether the context was marked by Growing.
func IsGrowing(ctx context.Context) bool { return ctx.Value(growKey{}) != nil }
