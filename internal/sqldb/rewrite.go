package sqldb

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
)

// Dialect is the SQL of a driver's database; its value is the driver's name.
type Dialect string

// The dialects.
const (
	SQLite   Dialect = "sqlite"
	Postgres Dialect = "postgres"
)

// maxRewrites limits a Rewriter's cache: statements that differ with every call must
// not fill the memory.
const maxRewrites = 4096

// Rewriter translates neutral SQL into one dialect and caches the results. The zero
// value is not usable; see [NewRewriter].
type Rewriter struct {
	dialect Dialect
	cache   sync.Map // rewriteKey → string
	size    atomic.Int64
}

type rewriteKey struct {
	sql, cols, args string
	rows            int
}

// NewRewriter makes a Rewriter for a dialect.
func NewRewriter(d Dialect) *Rewriter { return &Rewriter{dialect: d} }

// Rewrite translates sql; cols are the columns of "@rows", if sql has it.
func (r *Rewriter) Rewrite(sql string, cols []Column) string { return r.RewriteRows(sql, cols, 1) }

// RewriteRows is Rewrite for "@rows" of n rows, for SQLite. The parameters are those of
// the columns that are the same in all rows, and then those of the others, row by row.
func (r *Rewriter) RewriteRows(sql string, cols []Column, n int) string {
	return r.cached(rewriteKey{sql: sql, cols: signature(cols, n), rows: n}, cols)
}

// RewriteTyped translates sql whose parameters will be args, as [Value] returns them,
// and adds their types as casts: PostgreSQL would infer a 32-bit integer for a
// parameter beside a small literal.
func (r *Rewriter) RewriteTyped(sql string, args []any) string {
	return r.cached(rewriteKey{sql: sql, args: types(args)}, nil)
}

func (r *Rewriter) cached(key rewriteKey, cols []Column) string {
	if done, ok := r.cache.Load(key); ok {
		return done.(string)
	}
	done := rewrite(r.dialect, key.sql, cols, key.args, key.rows)
	if r.size.Add(1) <= maxRewrites {
		r.cache.Store(key, done)
	}
	return done
}

// types writes one letter for the type of each argument.
func types(args []any) string {
	b := make([]byte, len(args))
	for i, a := range args {
		switch a.(type) {
		case int64:
			b[i] = 'I'
		case string:
			b[i] = 'T'
		case []byte:
			b[i] = 'B'
		case []int64:
			b[i] = 'i'
		case []string:
			b[i] = 't'
		case float64:
			b[i] = 'F'
		default:
			b[i] = '?'
		}
	}
	return string(b)
}

func signature(cols []Column, rows int) string {
	if len(cols) == 0 {
		return ""
	}
	var b strings.Builder
	for _, c := range cols {
		b.WriteString(c.Name)
		b.WriteByte("ITB"[c.Type])
		if rows > 1 && c.Same {
			b.WriteByte('=')
		}
	}
	return b.String()
}

// Rewrite translates neutral SQL into a dialect. Quoted text, quoted names and
// comments stay as they are. The parameters of "@rows" are the first ones: one
// array per column on PostgreSQL, one value per column and row on SQLite.
func Rewrite(d Dialect, sql string, cols []Column) string { return rewrite(d, sql, cols, "", 1) }

func rewrite(d Dialect, sql string, cols []Column, args string, rows int) string {
	w := rewriter{dialect: d, cols: cols, args: args, nrows: rows}
	if strings.Contains(sql, rowsWord) && d == Postgres {
		w.params = len(cols)
	}
	for sql != "" {
		n := w.next(sql)
		w.last = sql[n-1]
		sql = sql[n:]
	}
	return w.out.String()
}

const rowsWord = "@rows"

// lockClause is what follows FOR in a locking read.
var lockClause = regexp.MustCompile(
	`^FOR (?:NO KEY UPDATE|UPDATE|KEY SHARE|SHARE)(?: OF [a-z_, ]*[a-z_])?(?: SKIP LOCKED| NOWAIT)?\b`)

// rewriter is the state of one translation.
type rewriter struct {
	dialect Dialect
	cols    []Column
	args    string // the parameters' types, if they are known
	out     strings.Builder
	nrows   int // of "@rows", on SQLite
	params  int
	last    byte // the last byte read; 0 at the start
}

// next translates the head of sql and returns how much of it that was.
func (w *rewriter) next(sql string) int {
	switch sql[0] {
	case '\'', '"':
		return w.copy(sql, quoted(sql))
	case '-':
		if strings.HasPrefix(sql, "--") {
			return w.copy(sql, comment(sql))
		}
	case '?':
		w.out.WriteString(w.param())
		return 1
	case '@':
		if strings.HasPrefix(sql, rowsWord) {
			w.out.WriteString(w.rows())
			return len(rowsWord)
		}
	case 'N', 'I', 'F':
		if n := w.keyword(sql); n > 0 {
			return n
		}
	}
	return w.copy(sql, 1)
}

func (w *rewriter) copy(sql string, n int) int {
	w.out.WriteString(sql[:n])
	return n
}

// quoted is the length of the quoted text or name at the head of sql. A doubled
// quote reads as the end of one text and the start of the next.
func quoted(sql string) int {
	if end := strings.IndexByte(sql[1:], sql[0]); end >= 0 {
		return end + 2
	}
	return len(sql)
}

func comment(sql string) int {
	if end := strings.IndexByte(sql, '\n'); end >= 0 {
		return end
	}
	return len(sql)
}

// keyword translates "IN ?*", "NOT IN ?*" and locking clauses; 0 means that sql
// starts with none of them.
func (w *rewriter) keyword(sql string) int {
	if isWord(w.last) {
		return 0
	}
	for _, k := range [...]struct{ neutral, postgres, sqlite string }{
		{"NOT IN ?*", "<> ALL(%s)", "NOT IN (SELECT value FROM json_each(%s))"},
		{"IN ?*", "= ANY(%s)", "IN (SELECT value FROM json_each(%s))"},
	} {
		if !strings.HasPrefix(sql, k.neutral) {
			continue
		}
		form := k.sqlite
		if w.dialect == Postgres {
			form = k.postgres
		}
		fmt.Fprintf(&w.out, form, w.param())
		return len(k.neutral)
	}
	if w.dialect == SQLite {
		return len(lockClause.FindString(sql))
	}
	return 0
}

func isWord(b byte) bool {
	return b == '_' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}

func (w *rewriter) param() string {
	if w.dialect == SQLite {
		return "?"
	}
	w.params++
	if w.params > len(w.args) {
		return fmt.Sprintf("$%d", w.params)
	}
	return fmt.Sprintf("$%d%s", w.params, casts[w.args[w.params-1]])
}

// casts are PostgreSQL's names for the letters of types.
var casts = map[byte]string{
	'I': "::bigint", 'T': "::text", 'B': "::bytea", 'F': "::float8", 'i': "::bigint[]", 't': "::text[]",
}

func (w *rewriter) rows() string {
	if w.dialect == SQLite && w.nrows > 1 {
		return w.values()
	}
	if w.dialect == SQLite {
		return "(SELECT " + w.list(func(_ int, c Column) string { return "? AS " + c.Name }) + ") AS v"
	}
	arrays := w.list(func(i int, c Column) string { return fmt.Sprintf("$%d::%s[]", i+1, postgresTypes[c.Type]) })
	return "unnest(" + arrays +
		") AS v(" + w.list(func(_ int, c Column) string { return c.Name }) + ")"
}

// values is the table of several rows on SQLite.
func (w *rewriter) values() string {
	n := 0
	cols := w.list(func(_ int, c Column) string {
		if c.Same {
			return "? AS " + c.Name
		}
		n++
		return fmt.Sprintf("column%d AS %s", n, c.Name)
	})
	row := "(" + strings.TrimSuffix(strings.Repeat("?, ", max(1, n)), ", ") + ")"
	return "(SELECT " + cols + " FROM (VALUES " + strings.TrimSuffix(strings.Repeat(row+", ", w.nrows), ", ") + ")) AS v"
}

var postgresTypes = map[ColType]string{Int: "bigint", Text: "text", Bytes: "bytea"}

func (w *rewriter) list(item func(i int, c Column) string) string {
	items := make([]string, len(w.cols))
	for i, c := range w.cols {
		items[i] = item(i, c)
	}
	return strings.Join(items, ", ")
}
