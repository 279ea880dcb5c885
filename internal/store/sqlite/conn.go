package sqlite

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	sqlite "modernc.org/sqlite"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// maxStatements bounds the prepared statements of a connection. The fixed statements
// of the store are fewer; those that lists build from filters may exceed it.
const maxStatements = 500

// conn is a connection with its prepared statements. It uses the driver's connection
// directly: database/sql would add locks and conversions to each statement, and may
// replace a connection whose statement was interrupted.
type conn struct {
	db    *DB
	raw   driver.Conn
	stmts map[string]driver.Stmt
	// ctx is the transaction's context. The writer's is never cancelled: an
	// interrupt would roll back the whole group.
	ctx  context.Context //nolint:containedctx // set for one transaction
	args []driver.NamedValue
	open *rows // the result that is not closed yet, or nil
}

func (db *DB) connect(ctx context.Context, params string) (*conn, error) {
	k, err := sqlite.NewConnector(db.dsn(params))
	if err != nil {
		return nil, err
	}
	raw, err := k.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &conn{db: db, raw: raw, stmts: map[string]driver.Stmt{}, ctx: context.WithoutCancel(ctx)}, nil
}

func (c *conn) close() error {
	return errors.Join(c.closeStatements(), c.raw.Close())
}

// closeStatements closes all prepared statements.
func (c *conn) closeStatements() error {
	var errs []error
	for _, s := range c.stmts {
		errs = append(errs, s.Close())
	}
	clear(c.stmts)
	return errors.Join(errs...)
}

func (c *conn) stmt(text string) (driver.Stmt, error) {
	if c.open != nil {
		return nil, fmt.Errorf("the rows of the last query are still open: %q", text)
	}
	if s := c.stmts[text]; s != nil {
		return s, nil
	}
	if len(c.stmts) >= maxStatements {
		if err := c.closeStatements(); err != nil {
			return nil, err
		}
	}
	// Without the cancellation of c.ctx: a cancelled read must still prepare its
	// ROLLBACK.
	s, err := c.raw.(driver.ConnPrepareContext).PrepareContext(context.WithoutCancel(c.ctx), text)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", text, err)
	}
	c.stmts[text] = s
	return s, nil
}

// closeRows closes rows that a transaction left open.
func (c *conn) closeRows() {
	if c.open != nil {
		c.open.Close()
	}
}

// control runs a transaction statement, such as BEGIN. It ignores cancellation.
func (c *conn) control(text string) error {
	s, err := c.stmt(text)
	if err != nil {
		return err
	}
	_, err = s.(driver.StmtExecContext).ExecContext(context.WithoutCancel(c.ctx), nil)
	return err
}

// script runs one or more statements without preparing them.
func (c *conn) script(ctx context.Context, text string, args ...driver.NamedValue) error {
	_, err := c.raw.(driver.ExecerContext).ExecContext(ctx, text, args)
	return err
}

// number returns the number that a query selects, or 0 for no row and for NULL.
func (c *conn) number(text string) (int64, error) {
	list, err := c.numbers(text)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	return list[0], nil
}

// numbers returns the numbers in the first column of a query.
func (c *conn) numbers(text string, args ...any) ([]int64, error) {
	r, err := c.Query(c.ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var out []int64
	for r.Next() {
		var v any
		if err := r.Scan(&v); err != nil {
			return nil, err
		}
		n, _ := v.(int64)
		out = append(out, n)
	}
	return out, r.Err()
}

// texts returns the strings in the first column of a query.
func (c *conn) texts(text string, args ...any) ([]string, error) {
	r, err := c.Query(c.ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var out []string
	for r.Next() {
		var s string
		if err := r.Scan(&s); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, r.Err()
}

// Exec implements sqldb.Conn.
func (c *conn) Exec(_ context.Context, text string, args ...any) (int64, error) {
	s, err := c.stmt(c.db.sql.Rewrite(text, nil))
	if err != nil {
		return 0, err
	}
	if err := c.bind(args); err != nil {
		return 0, err
	}
	return c.step(s, text)
}

// step runs a statement with the bound arguments.
func (c *conn) step(s driver.Stmt, text string) (int64, error) {
	r, err := s.(driver.StmtExecContext).ExecContext(c.ctx, c.args)
	if err != nil {
		return 0, err
	}
	n, err := r.RowsAffected()
	if strings.HasPrefix(text, "INSERT INTO "+segmentPrefix) {
		c.db.rows += n
	}
	return n, err
}

// Query implements sqldb.Conn.
func (c *conn) Query(_ context.Context, text string, args ...any) (sqldb.Rows, error) {
	s, err := c.stmt(c.db.sql.Rewrite(text, nil))
	if err != nil {
		return nil, err
	}
	if err := c.bind(args); err != nil {
		return nil, err
	}
	r, err := s.(driver.StmtQueryContext).QueryContext(c.ctx, c.args)
	if err != nil {
		return nil, err
	}
	c.open = &rows{c: c, r: r, vals: make([]driver.Value, len(r.Columns()))}
	return c.open, nil
}

// chunks are the numbers of rows that one statement writes: few, because each is a
// statement of its own.
var chunks = [...]int{64, 16, 4, 1}

// ExecRows implements sqldb.Conn. It runs one prepared statement for each chunk of rows.
func (c *conn) ExecRows(_ context.Context, text string, rows sqldb.Batch) (int64, error) {
	if rows.Len == 0 {
		return 0, nil
	}
	if rows.Len >= chunks[len(chunks)-2] {
		rows.MarkSame()
	}
	var total int64
	at := 0
	for _, size := range chunks {
		if rows.Len-at < size {
			continue
		}
		s, err := c.stmt(orFail(c.db.sql.RewriteRows(text, rows.Cols, size)))
		if err != nil {
			return total, err
		}
		for ; rows.Len-at >= size; at += size {
			c.bindRows(rows.Cols, at, size)
			n, err := c.step(s, text)
			if err != nil {
				return total, err
			}
			total += n
		}
	}
	if strings.HasPrefix(text, "INSERT INTO "+segmentPrefix) {
		c.db.rows += max(0, textBytes(rows)/segmentRowBytes-total)
	}
	return total, nil
}

// textBytes is the size of the texts of a batch.
func textBytes(rows sqldb.Batch) (n int64) {
	for _, col := range rows.Cols {
		for _, text := range col.Texts {
			n += int64(len(text))
		}
	}
	return n
}

// bindRows stores n rows of a batch in c.args, in the order of [sqldb.Rewriter.RewriteRows].
func (c *conn) bindRows(cols []sqldb.Column, from, n int) {
	c.args = c.args[:0]
	add := func(k, row int) {
		c.args = append(c.args, driver.NamedValue{Ordinal: len(c.args) + 1, Value: cols[k].Value(row)})
	}
	if n > 1 {
		for k := range cols {
			if cols[k].Same {
				add(k, from)
			}
		}
	}
	for row := from; row < from+n; row++ {
		for k := range cols {
			if n == 1 || !cols[k].Same {
				add(k, row)
			}
		}
	}
}

// orFail adds OR FAIL to a statement, so that SQLite opens no statement journal for it. The
// journal would roll back a partly executed statement; an error rolls back the member's
// savepoint.
func orFail(text string) string {
	if rest, ok := strings.CutPrefix(text, "INSERT INTO "); ok {
		return "INSERT OR FAIL INTO " + rest
	}
	if rest, ok := strings.CutPrefix(text, "UPDATE "); ok {
		return "UPDATE OR FAIL " + rest
	}
	return text
}

// bind converts arguments to SQLite's types and stores them in c.args. Lists become
// JSON arrays for json_each.
func (c *conn) bind(args []any) error {
	c.args = c.args[:0]
	for i, a := range args {
		v, err := sqldb.Value(a)
		if err != nil {
			return fmt.Errorf("argument %d: %w", i+1, err)
		}
		switch list := v.(type) {
		case []int64:
			v = intArray(list)
		case []string:
			if v, err = textArray(list); err != nil {
				return err
			}
		}
		c.args = append(c.args, driver.NamedValue{Ordinal: i + 1, Value: v})
	}
	return nil
}

func textArray(list []string) (string, error) {
	if len(list) == 0 {
		return "[]", nil
	}
	b, err := json.Marshal(list)
	if err != nil {
		return "", fmt.Errorf("encode a list: %w", err)
	}
	return string(b), nil
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

// NewIDs implements sqldb.Conn.
func (c *conn) NewIDs(_ context.Context, n int) ([]int64, error) {
	return c.db.ids.next(c.db.Now(), n), nil
}

// Lock implements sqldb.Conn. It is a no-op because there is only one writer.
func (c *conn) Lock(context.Context, int64, bool) error { return nil }

// InsertTable implements sqldb.Conn.
func (c *conn) InsertTable(table string) string {
	if table == "done" {
		return segmentName(c.db.segment.Load())
	}
	return table
}

// rows implements sqldb.Rows.
type rows struct {
	c      *conn
	r      driver.Rows
	vals   []driver.Value
	err    error
	closed bool
}

// Next implements sqldb.Rows. The driver interrupts only the first step of a query when
// its context is cancelled, so Next checks the context itself.
func (r *rows) Next() bool {
	if r.closed || r.err != nil {
		return false
	}
	if r.err = r.c.ctx.Err(); r.err == nil {
		r.err = r.r.Next(r.vals)
	}
	if r.err == nil {
		return true
	}
	if errors.Is(r.err, io.EOF) {
		r.err = nil
	}
	r.Close()
	return false
}

// Err implements sqldb.Rows.
func (r *rows) Err() error { return r.err }

// Close implements sqldb.Rows.
func (r *rows) Close() {
	if r.closed {
		return
	}
	r.closed, r.c.open = true, nil
	if err := r.r.Close(); r.err == nil {
		r.err = err
	}
}

// Scan implements sqldb.Rows.
func (r *rows) Scan(dest ...any) error {
	if len(dest) != len(r.vals) {
		return fmt.Errorf("scan %d columns into %d", len(r.vals), len(dest))
	}
	for i, d := range dest {
		if err := assign(d, r.vals[i]); err != nil {
			return fmt.Errorf("scan column %s: %w", r.r.Columns()[i], err)
		}
	}
	return nil
}

// idSource generates strictly ascending ids from the seconds of the clock and a counter.
// If the clock steps back, or the counter overflows within a second, ids run ahead of
// the clock.
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

// Notify implements sqldb.Driver. SQLite has one server, so delivery is local.
func (db *DB) Notify(topics sqldb.TopicSet) { db.notifier.Notify(topics) }

// NotifyLocal implements sqldb.Driver.
func (db *DB) NotifyLocal(topics sqldb.TopicSet) { db.notifier.Notify(topics) }

// Subscribe implements sqldb.Driver.
func (db *DB) Subscribe(t sqldb.Topic) (<-chan struct{}, func()) { return db.notifier.Subscribe(t) }
