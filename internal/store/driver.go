package store

import (
	"context"
	"time"
)

// Driver is what a database gives the store. sqlite.DB and postgres.DB are the
// two; storetest holds both to one suite.
//
// SQL is written once, in this dialect-neutral form, which each driver
// translates (and caches) with Rewrite:
//
//   - "?" is a parameter; "IN ?*" matches a column against one []int64 or
//     []string parameter;
//   - "@rows" in ExecRows stands for the given rows as a table named v;
//   - FOR UPDATE, FOR SHARE and SKIP LOCKED stand as in PostgreSQL; SQLite, where
//     a writer is alone, drops them;
//   - times are integer microseconds since 1970 UTC, booleans 0 and 1, JSON is
//     text, and no column is NULL: 0 and ” mean none.
type Driver interface {
	// Name is "sqlite" or "postgres".
	Name() string
	// Now is the database's clock.
	Now() time.Time
	// InTx runs fn in a read-write transaction and returns nil only once the
	// transaction is durable. fn may run more than once (deadlock, or a group
	// commit that failed for another member), so it must do no I/O but on c and
	// must reset what it returns. An *AmbiguousError says that the commit may or
	// may not have happened.
	InTx(ctx context.Context, fn func(c Conn) error) error
	// View runs fn on a consistent snapshot; writes in it fail.
	View(ctx context.Context, fn func(c Conn) error) error
	// Wake tells this process at once, and every other server on this database
	// soon and debounced when the topic is shared, that there is something new.
	// It never blocks.
	Wake(topics TopicSet)
	// Woken returns a channel that receives after Wake was called with the topic
	// on any server of this database, and now and then without. The channel is
	// closed by stop.
	Woken(t Topic) (c <-chan struct{}, stop func())
	// Maintain does what the database needs from time to time: partitions or
	// segments of history made ahead, those older than keep dropped, checkpoints.
	Maintain(ctx context.Context, keep time.Duration) error
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
	// database has such a thing. In sql, "@rows" is a table v with the columns
	// cols. Each row holds int64, string or []byte values as cols say.
	ExecRows(ctx context.Context, sql string, cols []Col, rows [][]any) (int64, error)
	// NewIDs allocates n ids, ascending, from the database's clock and sequence.
	NewIDs(ctx context.Context, n int) ([]int64, error)
	// Lock takes the transaction-scoped advisory lock with this number: shared,
	// or exclusive. On SQLite, where a writer is alone, it does nothing.
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

// Col is a column of "@rows".
type Col struct {
	Name string
	Type ColType
}

// ColType is the type of a column of "@rows".
type ColType int

// The column types.
const (
	Int   ColType = iota // int64
	Text                 // string
	Bytes                // []byte
)

// Ints makes Int columns.
func Ints(names ...string) []Col { return cols(Int, names) }

// Texts makes Text columns.
func Texts(names ...string) []Col { return cols(Text, names) }

func cols(t ColType, names []string) []Col {
	cs := make([]Col, len(names))
	for i, n := range names {
		cs[i] = Col{n, t}
	}
	return cs
}

// Stats describes a database.
type Stats struct {
	Kind      string        `json:"kind"`
	Version   string        `json:"version"`
	Latency   time.Duration `json:"-"`
	PoolInUse int           `json:"pool_in_use"`
	PoolMax   int           `json:"pool_max"`
	SizeBytes int64         `json:"size_bytes"`
	DiskFree  float64       `json:"disk_free"` // share of the disk that is free, 0 to 1; 1 when it cannot be known
}

// AmbiguousError says that a commit was sent and its answer lost: the caller
// must look (by fence, by id, by idempotency key) before it acts again.
type AmbiguousError struct{ Err error }

func (e *AmbiguousError) Error() string { return "commit outcome unknown: " + e.Err.Error() }
func (e *AmbiguousError) Unwrap() error { return e.Err }
