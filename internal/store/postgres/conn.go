package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"hostler.dev/hostler/internal/sqldb"
)

// conn implements sqldb.Conn on a connection with an open transaction. Statements run
// under the transaction's context, which has a deadline; the caller's context may have
// none.
type conn struct {
	db  *DB
	c   *pgx.Conn
	ctx context.Context //nolint:containedctx // a conn lives inside one transaction
}

// Exec implements sqldb.Conn.
func (c *conn) Exec(_ context.Context, sql string, args ...any) (int64, error) {
	vals, err := values(args)
	if err != nil {
		return 0, err
	}
	tag, err := c.c.Exec(c.ctx, c.db.sql.RewriteTyped(sql, vals), vals...)
	return tag.RowsAffected(), err
}

func values(args []any) ([]any, error) {
	vals := make([]any, len(args))
	for i, a := range args {
		v, err := sqldb.Value(a)
		if err != nil {
			return nil, fmt.Errorf("argument %d: %w", i+1, err)
		}
		vals[i] = v
	}
	return vals, nil
}

// Query implements sqldb.Conn.
func (c *conn) Query(_ context.Context, sql string, args ...any) (sqldb.Rows, error) {
	vals, err := values(args)
	if err != nil {
		return nil, err
	}
	r, err := c.c.Query(c.ctx, c.db.sql.RewriteTyped(sql, vals), vals...)
	if err != nil {
		return nil, err
	}
	return rows{r}, nil
}

// ExecRows implements sqldb.Conn. It sends each column as one array.
func (c *conn) ExecRows(_ context.Context, sql string, rows sqldb.Batch) (int64, error) {
	if rows.Len == 0 {
		return 0, nil
	}
	args := make([]any, len(rows.Cols))
	for i := range rows.Cols {
		args[i] = rows.Cols[i].Values()
	}
	tag, err := c.c.Exec(c.ctx, c.db.sql.Rewrite(sql, rows.Cols), args...)
	return tag.RowsAffected(), err
}

// NewIDs implements sqldb.Conn. An id combines the seconds of the database's clock
// with a cycling sequence that all servers share.
func (c *conn) NewIDs(_ context.Context, n int) ([]int64, error) {
	sec, args := `floor(extract(epoch FROM clock_timestamp()))::bigint`, []any{n}
	if c.db.opt.Now != nil {
		sec, args = `$2::bigint`, []any{n, c.db.Now().Unix()}
	}
	r, err := c.c.Query(c.ctx, `SELECT (`+sec+` << 21) | (nextval('id_seq') & 2097151)
FROM generate_series(1, $1::bigint)`, args...)
	if err != nil {
		return nil, fmt.Errorf("allocate ids: %w", err)
	}
	ids, err := pgx.CollectRows(r, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("allocate ids: %w", err)
	}
	slices.Sort(ids) // the sequence may have cycled within the second
	return ids, nil
}

// Lock implements sqldb.Conn.
func (c *conn) Lock(_ context.Context, key int64, shared bool) error {
	sql := `SELECT pg_advisory_xact_lock($1)`
	if shared {
		sql = `SELECT pg_advisory_xact_lock_shared($1)`
	}
	_, err := c.c.Exec(c.ctx, sql, key)
	return err
}

// InsertTable implements sqldb.Conn. PostgreSQL routes rows to partitions itself.
func (c *conn) InsertTable(table string) string { return table }

// rows implements sqldb.Rows.
type rows struct{ pgx.Rows }

// Scan implements sqldb.Rows. It also accepts *bool, for the integers that represent
// booleans in the neutral SQL.
func (r rows) Scan(dest ...any) error {
	var bools []*bool
	var ints []int64
	for i, d := range dest {
		if b, ok := d.(*bool); ok {
			if ints == nil {
				dest, ints = slices.Clone(dest), make([]int64, len(dest))
			}
			dest[i] = &ints[len(bools)]
			bools = append(bools, b)
		}
	}
	if err := r.Rows.Scan(dest...); err != nil {
		return err
	}
	for i, b := range bools {
		*b = ints[i] != 0
	}
	return nil
}
