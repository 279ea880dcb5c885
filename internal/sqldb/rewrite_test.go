package sqldb

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRewrite(t *testing.T) {
	cols := []Column{Ints("id"), Texts("name"), Blobs("data")}
	tests := []struct{ name, sql, postgres, sqlite string }{
		{
			"parameters, not in quotes",
			`SELECT '?', "a?", x FROM t WHERE a = ? AND b = ? -- why?`,
			`SELECT '?', "a?", x FROM t WHERE a = $1 AND b = $2 -- why?`,
			`SELECT '?', "a?", x FROM t WHERE a = ? AND b = ? -- why?`,
		},
		{
			"quote in a quote",
			`SELECT 'it''s ?' WHERE a = ?`,
			`SELECT 'it''s ?' WHERE a = $1`,
			`SELECT 'it''s ?' WHERE a = ?`,
		},
		{
			"lists",
			`SELECT 1 FROM t WHERE JOIN ?* a IN ?* AND b NOT IN ?* AND c = ?`,
			`SELECT 1 FROM t WHERE JOIN $1* a = ANY($2) AND b <> ALL($3) AND c = $4`,
			`SELECT 1 FROM t WHERE JOIN ?* a IN (SELECT value FROM json_each(?)) AND b NOT IN (SELECT value FROM json_each(?)) AND c = ?`,
		},
		{
			"locks",
			`SELECT id FROM t ORDER BY id LIMIT ? FOR UPDATE OF t SKIP LOCKED`,
			`SELECT id FROM t ORDER BY id LIMIT $1 FOR UPDATE OF t SKIP LOCKED`,
			`SELECT id FROM t ORDER BY id LIMIT ? `,
		},
		{
			"shared lock inside a query",
			`WITH w AS (SELECT id FROM worker FOR SHARE) SELECT FOREIGN FROM w`,
			`WITH w AS (SELECT id FROM worker FOR SHARE) SELECT FOREIGN FROM w`,
			`WITH w AS (SELECT id FROM worker ) SELECT FOREIGN FROM w`,
		},
		{
			"rows, with a parameter after them",
			`UPDATE t SET name = v.name FROM @rows WHERE t.id = v.id AND t.x = ?`,
			`UPDATE t SET name = v.name FROM unnest($1::bigint[], $2::text[], $3::bytea[]) AS v(id, name, data) WHERE t.id = v.id AND t.x = $4`,
			`UPDATE t SET name = v.name FROM (SELECT ? AS id, ? AS name, ? AS data) AS v WHERE t.id = v.id AND t.x = ?`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for d, want := range map[Dialect]string{Postgres: tt.postgres, SQLite: tt.sqlite} {
				if diff := cmp.Diff(want, NewRewriter(d).Rewrite(tt.sql, cols)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", d, diff)
				}
			}
		})
	}
}

func TestRewriterRemembersByColumns(t *testing.T) {
	r := NewRewriter(Postgres)
	const sql = `DELETE FROM t WHERE id IN (SELECT v.id FROM @rows)`
	one, two := r.Rewrite(sql, []Column{Ints("id")}), r.Rewrite(sql, []Column{Texts("id")})
	if one == two {
		t.Errorf("columns of two types gave one text: %s", one)
	}
	if again := r.Rewrite(sql, []Column{Ints("id")}); again != one {
		t.Errorf("got %s, want %s", again, one)
	}
}

func TestRewriteRows(t *testing.T) {
	b := BatchOf(Ints("id", 1, 2), Texts("name", "a", "a"), Blobs("data", []byte{1}, nil), Ints("n", 3, 3), Texts("x", "a", "b"))
	b.MarkSame()
	const sql = `INSERT INTO t SELECT v.id FROM @rows WHERE ? = 1`
	want := `INSERT INTO t SELECT v.id FROM (SELECT column1 AS id, ? AS name, column2 AS data, ? AS n, column3 AS x ` +
		`FROM (VALUES (?, ?, ?), (?, ?, ?))) AS v WHERE ? = 1`
	if diff := cmp.Diff(want, NewRewriter(SQLite).RewriteRows(sql, b.Cols, 2)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	b.Cols[3].Ints[1] = 4
	b.MarkSame()
	if b.Cols[3].Same || !b.Cols[1].Same || b.Cols[0].Same {
		t.Errorf("the columns are %+v", b.Cols)
	}
}

func TestRewriteTyped(t *testing.T) {
	const sql = `UPDATE t SET a = ?, b = ? WHERE c IN ?* AND d = ? AND e IN ?*`
	args := []any{int64(1), "b", []int64{2}, []byte{3}, []string{"e"}}
	for d, want := range map[Dialect]string{
		Postgres: `UPDATE t SET a = $1::bigint, b = $2::text WHERE c = ANY($3::bigint[]) AND d = $4::bytea AND e = ANY($5::text[])`,
		SQLite:   `UPDATE t SET a = ?, b = ? WHERE c IN (SELECT value FROM json_each(?)) AND d = ? AND e IN (SELECT value FROM json_each(?))`,
	} {
		if diff := cmp.Diff(want, NewRewriter(d).RewriteTyped(sql, args)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", d, diff)
		}
	}
}

func FuzzRewrite(f *testing.F) {
	f.Add(`SELECT '?' FROM t WHERE a IN ?* FOR UPDATE -- ?`)
	f.Add(`'`)
	f.Fuzz(func(t *testing.T, sql string) {
		if got := Rewrite(SQLite, sql, nil); !strings.ContainsAny(sql, "?FN@I") && got != sql {
			t.Errorf("got %q, want it unchanged: %q", got, sql)
		}
		Rewrite(Postgres, sql, []Column{Ints("a")})
	})
}

func TestValue(t *testing.T) {
	type named string
	type number int32
	tests := []struct{ in, want any }{
		{int64(1), int64(1)},
		{2, int64(2)},
		{number(3), int64(3)},
		{true, int64(1)},
		{named("a"), "a"},
		{[]byte(nil), []byte{}},
		{[]named{"a", "b"}, []string{"a", "b"}},
		{[]int64{4}, []int64{4}},
	}
	for _, tt := range tests {
		got, err := Value(tt.in)
		if err != nil {
			t.Errorf("Value(%#v): %v", tt.in, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("Value(%#v) (-want +got):\n%s", tt.in, diff)
		}
	}
	for _, bad := range []any{nil, struct{}{}, uint64(1 << 63)} {
		if got, err := Value(bad); err == nil {
			t.Errorf("Value(%#v) = %v, want an error", bad, got)
		}
	}
}
