package store

import (
	"reflect"
	"strings"
	"sync"

	"hostler.dev/hostler/internal/sqldb"
)

// This file holds the ways from SQL to Go and back. The columns of a table are
// declared once, by the tags of a row struct; see package sqldb. In the text of a
// query, "@cols" is replaced by the columns of the struct that it is read into, and
// "t.@cols" by the same columns of table t.

// Exec runs a statement of neutral SQL and returns how many rows it changed.
func (tx *Tx) Exec(sql string, args ...any) (int64, error) {
	return tx.c.Exec(tx.ctx, sql, args...)
}

// query runs a query and returns its rows.
func query[T any](tx *Tx, sql string, args ...any) ([]T, error) {
	var out []T
	err := scanRows(tx, withColumns[T](sql), args, func(r sqldb.Rows, s *sqldb.Scanner[T]) error {
		var row T
		err := s.Scan(r, &row)
		out = append(out, row)
		return err
	})
	return out, err
}

// queryOne runs a query for at most one row; nil when there is none.
func queryOne[T any](tx *Tx, sql string, args ...any) (*T, error) {
	return first(query[T](tx, sql, args...))
}

// queryEach runs a query and calls fn for each row. The row is only valid during the
// call.
func queryEach[T any](tx *Tx, sql string, args []any, fn func(row *T) error) error {
	var row, zero T
	return scanRows(tx, withColumns[T](sql), args, func(r sqldb.Rows, s *sqldb.Scanner[T]) error {
		row = zero
		if err := s.Scan(r, &row); err != nil {
			return err
		}
		return fn(&row)
	})
}

func scanRows[T any](tx *Tx, sql string, args []any, scan func(sqldb.Rows, *sqldb.Scanner[T]) error) error {
	s := sqldb.NewScanner[T]()
	return tx.each(sql, args, func(r sqldb.Rows) error { return scan(r, s) })
}

// each runs a query and calls scan for every row.
func (tx *Tx) each(sql string, args []any, scan func(r sqldb.Rows) error) error {
	rows, err := tx.c.Query(tx.ctx, sql, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// one runs a query for at most one row and reports whether there was one.
func (tx *Tx) one(sql string, args []any, dest ...any) (found bool, err error) {
	err = tx.each(sql, args, func(r sqldb.Rows) error {
		found = true
		return r.Scan(dest...)
	})
	return found, err
}

// exists reports whether a query returns a row.
func (tx *Tx) exists(sql string, args ...any) (found bool, err error) {
	err = tx.each(sql, args, func(sqldb.Rows) error {
		found = true
		return nil
	})
	return found, err
}

// column runs a query for one column.
func column[T any](tx *Tx, sql string, args ...any) ([]T, error) {
	var out []T
	err := tx.each(sql, args, func(r sqldb.Rows) error {
		var v T
		err := r.Scan(&v)
		out = append(out, v)
		return err
	})
	return out, err
}

// first returns the only row of a query for one.
func first[T any](all []T, err error) (*T, error) {
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[0], nil
}

// insert inserts rows into a table.
func insert[T any](tx *Tx, table string, rows []T) error {
	_, err := execRows(tx, textOf[T]("insert", table, insertText[T]), rows)
	return err
}

// insertNew inserts those of the rows whose unique columns no other row has, and
// returns how many it inserted.
func insertNew[T any](tx *Tx, table, unique string, rows []T) (int64, error) {
	return execRows(tx, textOf[T]("insert unique "+unique, table, func(table string) string {
		return insertText[T](table) + ` WHERE true ON CONFLICT (` + unique + `) DO NOTHING`
	}), rows)
}

// execRows runs one statement over many rows: "@rows" is a table v of them. It
// returns how many rows it changed, and runs nothing without rows.
func execRows[T any](tx *Tx, sql string, rows []T) (int64, error) {
	if len(rows) == 0 {
		return 0, nil
	}
	return tx.c.ExecRows(tx.ctx, sql, sqldb.NewBatch(rows))
}

func insertText[T any](table string) string {
	cols := sqldb.Columns[T]()
	return `INSERT INTO ` + table + ` (` + columnList("", cols) + `) SELECT ` + columnList("v.", cols) + ` FROM @rows`
}

// withColumns replaces "@cols" in a query by the columns of T.
func withColumns[T any](sql string) string {
	return textOf[T]("query", sql, func(sql string) string {
		at := strings.Index(sql, "@cols")
		if at < 0 {
			return sql
		}
		prefix := sql[strings.LastIndexAny(sql[:at], " \n(")+1 : at]
		return sql[:at-len(prefix)] + columnList(prefix, sqldb.Columns[T]()) + sql[at+len("@cols"):]
	})
}

func columnList(prefix string, cols []string) string {
	return prefix + strings.Join(cols, ", "+prefix)
}

// texts caches the SQL that is built from row structs.
var texts sync.Map // textKey → string

type textKey struct {
	kind, sql string
	row       reflect.Type
}

func textOf[T any](kind, sql string, build func(sql string) string) string {
	key := textKey{kind, sql, reflect.TypeFor[T]()}
	if text, ok := texts.Load(key); ok {
		return text.(string)
	}
	text := build(sql)
	texts.Store(key, text)
	return text
}
