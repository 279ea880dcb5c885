package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// conn is a connection with its prepared statements. Statements are few and
// fixed, so none is ever evicted.
type conn struct {
	db    *DB
	c     *sql.Conn
	stmts map[string]*sql.Stmt
}

func newConn(ctx context.Context, db *DB, pool *sql.DB) (*conn, error) {
	c, err := pool.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return &conn{db: db, c: c, stmts: map[string]*sql.Stmt{}}, nil
}

func (c *conn) close() error {
	for _, s := range c.stmts {
		_ = s.Close()
	}
	return c.c.Close()
}

func (c *conn) stmt(ctx context.Context, text string) (*sql.Stmt, error) {
	if s := c.stmts[text]; s != nil {
		return s, nil
	}
	s, err := c.c.PrepareContext(ctx, text)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", text, err)
	}
	c.stmts[text] = s
	return s, nil
}

func (c *conn) exec(ctx context.Context, text string) error {
	s, err := c.stmt(ctx, text)
	if err != nil {
		return err
	}
	_, err = s.ExecContext(ctx)
	return err
}

// own is the context for a statement: the writer's statements are not cancelled
// with their member, readers' are.
func (c *conn) own(ctx context.Context) context.Context {
	if c == c.db.writer {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

// Exec implements store.Conn.
func (c *conn) Exec(ctx context.Context, text string, args ...any) (int64, error) {
	ctx = c.own(ctx)
	s, err := c.stmt(ctx, c.db.sql.Rewrite(text, nil))
	if err != nil {
		return 0, err
	}
	if args, err = bind(args); err != nil {
		return 0, err
	}
	r, err := s.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// Query implements store.Conn.
func (c *conn) Query(ctx context.Context, text string, args ...any) (store.Rows, error) {
	ctx = c.own(ctx)
	s, err := c.stmt(ctx, c.db.sql.Rewrite(text, nil))
	if err != nil {
		return nil, err
	}
	if args, err = bind(args); err != nil {
		return nil, err
	}
	r, err := s.QueryContext(ctx, args...)
	if err != nil {
		return nil, err
	}
	return rows{r}, nil
}

// ExecRows implements store.Conn: one prepared statement, run for each row.
func (c *conn) ExecRows(ctx context.Context, text string, cols []store.Col, in [][]any) (int64, error) {
	ctx = c.own(ctx)
	s, err := c.stmt(ctx, orFail(c.db.sql.Rewrite(text, cols)))
	if err != nil {
		return 0, err
	}
	var n int64
	for _, row := range in {
		r, err := s.ExecContext(ctx, row...)
		if err != nil {
			return n, err
		}
		k, err := r.RowsAffected()
		if err != nil {
			return n, err
		}
		n += k
	}
	if strings.HasPrefix(text, "INSERT INTO "+segmentPrefix) {
		c.db.rows += n
	}
	return n, nil
}

// orFail keeps SQLite from opening a statement journal for each row. The journal
// would undo half a statement; a statement of one row has no half, and an error
// undoes the member's savepoint.
func orFail(text string) string {
	if rest, ok := strings.CutPrefix(text, "INSERT INTO "); ok {
		return "INSERT OR FAIL INTO " + rest
	}
	if rest, ok := strings.CutPrefix(text, "UPDATE "); ok {
		return "UPDATE OR FAIL " + rest
	}
	return text
}

// NewIDs implements store.Conn.
func (c *conn) NewIDs(_ context.Context, n int) ([]int64, error) {
	return c.db.ids.next(c.db.Now(), n), nil
}

// Lock implements store.Conn: the writer is alone.
func (c *conn) Lock(context.Context, int64, bool) error { return nil }

// InsertTable implements store.Conn.
func (c *conn) InsertTable(table string) string {
	if table == "done" {
		return segmentPrefix + strconv.FormatInt(c.db.segment.Load(), 10)
	}
	return table
}

type rows struct{ *sql.Rows }

func (r rows) Close() { _ = r.Rows.Close() }

// bind turns arguments into what SQLite takes; lists become the JSON arrays that
// json_each reads.
func bind(args []any) ([]any, error) {
	out := make([]any, len(args))
	for i, a := range args {
		v, err := store.Value(a)
		if err != nil {
			return nil, err
		}
		switch list := v.(type) {
		case []int64:
			v = intArray(list)
		case []string:
			b, err := json.Marshal(append([]string{}, list...))
			if err != nil {
				return nil, fmt.Errorf("encode a list: %w", err)
			}
			v = string(b)
		}
		out[i] = v
	}
	return out, nil
}

func intArray(list []int64) string {
	b := make([]byte, 1, 2+17*len(list))
	b[0] = '['
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, v, 10)
	}
	return string(append(b, ']'))
}

// idSource makes ids that ascend strictly, from the second of the clock and a
// count. A clock that steps back, or more ids in a second than the sequence has
// room for, only moves the ids ahead of the clock.
type idSource struct {
	mu   sync.Mutex
	last int64
}

func (s *idSource) next(now time.Time, n int) []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = max(s.last, hostler.MakeID(now.Unix(), 0))
	out := make([]int64, n)
	for i := range out {
		s.last++
		out[i] = s.last
	}
	return out
}

// Wake implements store.Driver.
func (db *DB) Wake() { db.bell.Ring() }

// Woken implements store.Driver.
func (db *DB) Woken() (<-chan struct{}, func()) { return db.bell.Listen() }
