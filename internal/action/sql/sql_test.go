package sql_test

import (
	"archive/zip"
	"bytes"
	"context"
	dbsql "database/sql"
	"encoding/csv"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	_ "github.com/jackc/pgx/v5/stdlib"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/action/actiontest"
	"hostler.dev/hostler/internal/action/sql"
	"hostler.dev/hostler/internal/action/sql/mariadbtest"
	"hostler.dev/hostler/internal/store/storetest"
)

func TestMain(m *testing.M) { mariadbtest.Main(m, storetest.Main) }

var loopback = netip.MustParsePrefix("127.0.0.0/8")

// base is a database with a table t of three rows, and how a test asks it.
type base struct {
	kind, server, user string
	exec               func(statement string)
	count              func(statement string) string
	param              string // the first parameter of a statement
}

func eachBase(t *testing.T, fn func(t *testing.T, b *base)) {
	t.Helper()
	const rows = `INSERT INTO t VALUES (1, '=cmd()', NULL), (2, '-5', 2.5), (3, '中"文', -3)`
	t.Run("postgres", func(t *testing.T) {
		dsn := storetest.Postgres(t)
		u, err := url.Parse(dsn)
		if err != nil {
			t.Fatal(err)
		}
		db, err := dbsql.Open("pgx", dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		b := &base{kind: "postgres", server: "postgres://" + u.Host + u.Path, user: u.User.Username(), param: "$1"}
		b.exec = func(s string) {
			t.Helper()
			if _, err := db.ExecContext(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		b.count = func(s string) (out string) {
			t.Helper()
			if err := db.QueryRowContext(t.Context(), s).Scan(&out); err != nil {
				t.Fatal(err)
			}
			return out
		}
		b.exec(`CREATE TABLE t (id INT PRIMARY KEY, name TEXT, n NUMERIC)`)
		b.exec(rows)
		fn(t, b)
	})
	t.Run("mariadb", func(t *testing.T) {
		s, name := mariadbtest.Database(t)
		b := &base{kind: "mysql", server: "mysql://" + s.Addr + "/" + name, user: "ops", param: "?"}
		b.exec = func(x string) { t.Helper(); s.Exec(t, name, x) }
		b.count = func(x string) string { t.Helper(); return strings.TrimSpace(s.Exec(t, name, x)) }
		b.exec(`SET NAMES utf8mb4; CREATE TABLE t (id INT PRIMARY KEY, name TEXT CHARACTER SET utf8mb4, n NUMERIC(9,1)) ENGINE=InnoDB; ` + rows)
		fn(t, b)
	})
}

type m = map[string]any

// attempt is a job on the database, without TLS.
func (b *base) attempt(t *testing.T, name string, args m) (*actiontest.Attempt, action.Action) {
	t.Helper()
	all := m{"server": b.server, "credential": "db", "tls": "off"}
	maps.Copy(all, args)
	a := actiontest.New(nil, all)
	a.Call.Credentials["db"] = hostler.LeaseCredential{
		Kind: hostler.CredentialPassword, Username: b.user, Secret: hostler.Secret{Password: mariadbtest.Password},
	}
	r, err := action.NewRegistry(sql.Actions(loopback)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Validate(name, a.Call.Args); err != nil {
		t.Fatal(err)
	}
	return a, actiontest.Find(t, sql.Actions(loopback), name)
}

func (b *base) run(t *testing.T, name string, args m) *actiontest.Attempt {
	t.Helper()
	a, act := b.attempt(t, name, args)
	return a.Run(t.Context(), act)
}

func TestQueries(t *testing.T) {
	eachBase(t, func(t *testing.T, b *base) {
		a := b.run(t, "sql_query", m{"statement": "SELECT id, name FROM t WHERE id >= " + b.param + " ORDER BY id", "params": []any{2}})
		a.MustEnd(t, hostler.OutcomeSucceeded, "")
		got := a.Value.(sql.Result)
		if diff := cmp.Diff([][]any{{int64(2), "-5"}, {int64(3), `中"文`}}, got.Rows); diff != "" || got.Count != 2 {
			t.Errorf("%+v (-want +got):\n%s", got, diff)
		}
		a = b.run(t, "sql_query", m{"statement": "SELECT name, n FROM t ORDER BY id", "name": "t.csv"})
		a.MustEnd(t, hostler.OutcomeSucceeded, "")
		records, err := csv.NewReader(bytes.NewReader(a.Artefact(t, "t.csv"))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		want := [][]string{{"name", "n"}, {"'=cmd()", ""}, {"-5", "2.5"}, {`中"文`, records[3][1]}}
		if diff := cmp.Diff(want, records); diff != "" || strings.HasPrefix(records[3][1], "'") {
			t.Errorf("CSV (-want +got):\n%s", diff)
		}
		a = b.run(t, "export", m{"statement": "SELECT id, name, n FROM t ORDER BY id", "name": "t.jsonl", "format": "jsonl"})
		var first struct {
			ID   int
			Name string
			N    any
		}
		if err := json.NewDecoder(bytes.NewReader(a.Artefact(t, "t.jsonl"))).Decode(&first); err != nil || first.ID != 1 || first.Name != "=cmd()" || first.N != nil {
			t.Errorf("JSON lines: %+v, %v", first, err)
		}
		a = b.run(t, "export", m{"statement": "SELECT id, name, n FROM t ORDER BY id", "name": "t.xlsx", "format": "xlsx"})
		wantSheet(t, a.Artefact(t, "t.xlsx"))
	})
}

func wantSheet(t *testing.T, b []byte) {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	f, err := z.Open("xl/worksheets/sheet1.xml")
	if err != nil {
		t.Fatal(err)
	}
	sheet, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<c><v>1</v></c>", ">=cmd()</t>", "中&#34;文", "<c/>"} {
		if !strings.Contains(string(sheet), want) {
			t.Errorf("the sheet has no %s: %s", want, sheet)
		}
	}
	if strings.Contains(string(sheet), "<f>") {
		t.Error("the sheet has a formula")
	}
}

// TestReadOnlyIsEnforced tries to change data, and to leave the transaction.
func TestReadOnlyIsEnforced(t *testing.T) {
	eachBase(t, func(t *testing.T, b *base) {
		if b.kind == "postgres" {
			b.exec(`CREATE FUNCTION f() RETURNS INT LANGUAGE plpgsql AS $$ BEGIN DELETE FROM t; RETURN 1; END $$`)
			b.exec(`CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN COMMIT; DELETE FROM t; END $$`)
			b.exec(`CREATE SEQUENCE s`)
		} else {
			b.exec("DELIMITER //\nCREATE FUNCTION f() RETURNS INT MODIFIES SQL DATA BEGIN DELETE FROM t; RETURN 1; END //\n" +
				"CREATE PROCEDURE p() BEGIN COMMIT; DELETE FROM t; END //")
		}
		for _, statement := range []string{
			"DELETE FROM t", "INSERT INTO t VALUES (9, 'x', 0)", "DROP TABLE t", "CREATE TABLE u (id INT)", "SELECT f()", "CALL p()",
			"COMMIT; DELETE FROM t", "SELECT 1; DELETE FROM t", "SET TRANSACTION READ WRITE", "/* */ DELETE FROM t",
			"WITH x AS (DELETE FROM t RETURNING id) SELECT * FROM x", "SELECT nextval('s')",
			"DO $$ BEGIN COMMIT; DELETE FROM t; END $$", "TRUNCATE t", "SELECT * FROM t FOR UPDATE", "COMMIT",
		} {
			a := b.run(t, "sql_query", m{"statement": statement})
			if n := b.count("SELECT count(*) FROM t"); n != "3" {
				t.Fatalf("%s changed the table: %s", statement, a)
			}
			if a.Outcome != hostler.OutcomeFailed && !strings.Contains("COMMIT SELECT * FROM t FOR UPDATE", statement) {
				t.Errorf("%s: %s", statement, a)
			}
		}
		if b.kind == "postgres" { // a read-only transaction allows these
			file := t.TempDir() + "/written"
			for _, statement := range []string{"COPY t TO PROGRAM 'cat > " + file + "'", "COPY t TO '" + file + "'"} {
				b.run(t, "sql_query", m{"statement": statement}).MustEnd(t, hostler.OutcomeFailed, sql.KindSQL)
			}
		}
	})
}

func TestWrites(t *testing.T) {
	eachBase(t, func(t *testing.T, b *base) {
		a := b.run(t, "sql_query", m{"statement": "UPDATE t SET n = 7 WHERE id < " + b.param, "params": []any{3}, "write": true})
		a.MustEnd(t, hostler.OutcomeSucceeded, "")
		if got := a.Value.(sql.Result); got.Count != 2 || b.count("SELECT count(*) FROM t WHERE n = 7") != "2" {
			t.Errorf("got %+v", got)
		}
		a = b.run(t, "sql_query", m{"statement": "INSERT INTO t VALUES (1, 'x', 0)", "write": true})
		a.MustEnd(t, hostler.OutcomeFailed, sql.KindSQL)
		// One of three rows breaks a rule: it alone is rolled back.
		a = b.run(t, "sql_query", m{
			"statement": "SELECT id FROM t ORDER BY id", "limit": 3,
			"each": "UPDATE t SET id = CASE WHEN id = 2 THEN 1 ELSE id + 100 END WHERE id = " + b.param + " AND id < 100",
		})
		if b.kind == "postgres" || b.kind == "mysql" {
			got, _ := a.Value.(sql.Result)
			if got.Done+got.Failed != 3 {
				t.Errorf("each: %s", a)
			}
		}
		b.exec("DELETE FROM t")
		b.exec("INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3), (12, 'd', 4)")
		a = b.run(t, "sql_query", m{"statement": "SELECT id FROM t WHERE id < 10 ORDER BY id", "limit": 2, "each": "UPDATE t SET id = id + 10 WHERE id = " + b.param})
		a.MustEnd(t, hostler.OutcomeFailed, sql.KindSQL)
		got := a.Value.(sql.Result)
		if got.Done != 1 || got.Failed != 1 || len(got.Errors) != 1 || got.Errors[0].Row != 2 || b.count("SELECT min(id) FROM t") != "2" {
			t.Errorf("each: %+v", got)
		}
	})
}

func TestFailures(t *testing.T) {
	eachBase(t, func(t *testing.T, b *base) {
		b.run(t, "sql_query", m{"statement": "SELEC"}).MustEnd(t, hostler.OutcomeFailed, sql.KindSQL)
		b.run(t, "sql_query", m{"statement": "SELECT id FROM t", "limit": 2}).MustEnd(t, hostler.OutcomeFailed, sql.KindSQL)
		b.run(t, "export", m{"statement": "SELECT id FROM t", "limit": 2, "name": "x"}).MustEnd(t, hostler.OutcomeFailed, sql.KindSQL)
		b.run(t, "sql_query", m{"statement": "SELECT 1", "tls": "verify"}).MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindAuth)
		a, act := b.attempt(t, "export", m{"statement": "SELECT id FROM t", "name": "x"})
		a.StoreError = hostler.Errorf(hostler.CodeDiskFull, "full", "已满")
		a.Run(t.Context(), act).MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindArtefact)
		b.user = "nobody"
		b.run(t, "sql_query", m{"statement": "SELECT 1"}).MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindAuth)
		b.user = ""
		b.run(t, "sql_query", m{"statement": "SELECT 1"}).MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindCredential)
	})
}

// TestQueriesAreStopped cancels a job in the middle of a slow statement.
func TestQueriesAreStopped(t *testing.T) {
	eachBase(t, func(t *testing.T, b *base) {
		slow := map[string]string{"postgres": "SELECT pg_sleep(100)", "mysql": "SELECT sleep(100)"}[b.kind]
		for _, write := range []bool{false, true} {
			args := m{"statement": slow}
			if write {
				args["write"] = true
			}
			ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, action.ErrCancelled)
			a, act := b.attempt(t, "sql_query", args)
			a.Run(ctx, act)
			cancel()
			if want := map[bool]hostler.Outcome{false: hostler.OutcomeCancelled, true: hostler.OutcomeUnknown}[write]; a.Outcome != want {
				t.Errorf("write %v: %s", write, a)
			}
		}
	})
}

// TestHostileServers: silence, an endless answer and a hang-up end the job, not the worker.
func TestHostileServers(t *testing.T) {
	for name, serve := range map[string]func(c net.Conn){
		"silent":  func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		"garbage": func(c net.Conn) { _, _ = c.Write(bytes.Repeat([]byte("x"), 1<<16)); _ = c.Close() },
		"hang-up": func(c net.Conn) { _ = c.Close() },
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go serve(c)
			}
		}()
		for _, scheme := range []string{"postgres", "mysql"} {
			b := &base{server: scheme + "://" + l.Addr().String() + "/x", user: "x"}
			a, act := b.attempt(t, "sql_query", m{"statement": "SELECT 1"})
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, action.ErrTimeout)
			a.Run(ctx, act)
			cancel()
			if a.Outcome != hostler.OutcomeFailed || a.Error.Text.ZH == "" {
				t.Errorf("%s %s: %s", scheme, name, a)
			}
		}
	}
}

func TestEgressAndArgs(t *testing.T) {
	a := actiontest.New(nil, m{"server": "postgres://127.0.0.1/x", "credential": "db", "statement": "SELECT 1"})
	a.Call.Credentials["db"] = hostler.LeaseCredential{Kind: hostler.CredentialPassword, Username: "x"}
	a.Run(t.Context(), actiontest.Find(t, sql.Actions(), "sql_query")).MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindBadArgs)
	r, err := action.NewRegistry(sql.Actions()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range []string{
		`{"server":"postgres://u:p@h/x","credential":"c","statement":"x"}`, `{"server":"postgres://h","credential":"c","statement":"x"}`,
		`{"server":"postgres://h/x?sslmode=disable","credential":"c","statement":"x"}`, `{"server":"sqlite:///etc/x","credential":"c","statement":"x"}`,
		`{"server":"postgres://h:70968/x","credential":"c","statement":"x"}`, `{"server":"mysql://h:0/x","credential":"c","statement":"x"}`,
		`{"server":"postgres://h/x","statement":"x"}`, `{"server":"postgres://h/x","credential":"c","statement":"x","each":"y"}`,
		`{"server":"postgres://h/x","credential":"c","statement":"x","each":"y","limit":1,"write":true}`,
		`{"server":"postgres://h/x","credential":"c","statement":"x","name":"../x"}`,
		`{"server":"postgres://h/x","credential":"c","statement":"x","name":"x","format":"xlsx","limit":2000000}`,
	} {
		if err := r.Validate("sql_query", json.RawMessage(raw)); hostler.CodeOf(err) != hostler.CodeInvalid {
			t.Errorf("%s: %v", raw, err)
		}
	}
	act, _ := r.Lookup("sql_query")
	if !act.ReadsAsCode("args.statement") || !act.ReadsAsCode("args.each") || act.ReadsAsCode("args.params[0]") {
		t.Error("values of users may be put into the text of a statement")
	}
	uses := act.Credentials(json.RawMessage(`{"server":"postgres://DB/x","credential":"c"}`))
	if len(uses) != 1 || uses[0].Origin != "postgres://db:5432" {
		t.Errorf("uses %+v", uses)
	}
}
