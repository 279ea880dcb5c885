package ssh_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/action/actiontest"
	"hostler.dev/hostler/internal/action/sql/mariadbtest"
	"hostler.dev/hostler/internal/action/ssh"
	"hostler.dev/hostler/internal/sshconn/sshtest"
	"hostler.dev/hostler/internal/store/storetest"
)

func gunzip(t *testing.T, b []byte) string {
	t.Helper()
	gz, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(gz)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// backup is an attempt with a password of the database.
func backup(asset *hostler.LeaseAsset, password string, args m) *actiontest.Attempt {
	args["credential"] = "db"
	a := actiontest.New(asset, args)
	a.Call.Credentials["db"] = hostler.LeaseCredential{Kind: hostler.CredentialPassword, Secret: hostler.Secret{Password: password}}
	return a
}

func TestBackupOfPostgres(t *testing.T) {
	e, s := newEnv(t, ssh.Options{}), startServer(t, sshtest.Options{})
	cluster, err := storetest.StartCluster("fsync=off")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Stop)
	u, err := url.Parse(cluster.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	sql := exec.CommandContext(t.Context(), "psql", u.String(), "-qc", "CREATE TABLE t (id INT); INSERT INTO t VALUES (42)")
	if out, err := sql.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	port, _ := strconv.Atoi(u.Port())
	args := func() m {
		return m{"engine": "postgres", "database": u.Path[1:], "host": u.Hostname(), "port": port, "user": u.User.Username()}
	}
	a := e.run(t.Context(), "backup_db", backup(s.Asset(), "any", args()))
	a.MustEnd(t, hostler.OutcomeSucceeded, "")
	got := a.Value.(ssh.BackedUp)
	if dump := gunzip(t, a.Artefact(t, u.Path[1:]+".sql.gz")); !strings.Contains(dump, "CREATE TABLE public.t ") || got.DumpBytes != int64(len(dump)) {
		t.Errorf("%+v, %d bytes of SQL", got, len(dump))
	}
	wrong := args()
	wrong["database"] = "absent"
	e.run(t.Context(), "backup_db", backup(s.Asset(), "any", wrong)).MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindCommand)
	full := backup(s.Asset(), "any", args())
	full.StoreError = hostler.Errorf(hostler.CodeDiskFull, "full", "已满")
	e.run(t.Context(), "backup_db", full).MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindArtefact)
}

func TestBackupOfMariaDB(t *testing.T) {
	e, s := newEnv(t, ssh.Options{}), startServer(t, sshtest.Options{})
	server, name := mariadbtest.Database(t)
	t.Cleanup(mariadbtest.Stop)
	server.Exec(t, name, "CREATE TABLE t (id INT); INSERT INTO t VALUES (42)")
	host, port, _ := net.SplitHostPort(server.Addr)
	n, _ := strconv.Atoi(port)
	args := func() m {
		return m{"engine": "mysql", "database": name, "host": host, "port": n, "user": "ops", "name": "d.sql.gz"}
	}
	a := e.run(t.Context(), "backup_db", backup(s.Asset(), mariadbtest.Password, args()))
	a.MustEnd(t, hostler.OutcomeSucceeded, "")
	if dump := gunzip(t, a.Artefact(t, "d.sql.gz")); !strings.Contains(dump, "(42)") {
		t.Errorf("the dump: %s", dump)
	}
	a = e.run(t.Context(), "backup_db", backup(s.Asset(), "wrong", args()))
	a.MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindCommand)
	if !strings.Contains(a.Error.Text.EN, "denied") {
		t.Error(a)
	}
}

// TestDumpsWithoutAnEnd: a tool that ends well in the middle, as one does behind a wrapper,
// has made no backup.
func TestDumpsWithoutAnEnd(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "-- PostgreSQL database dump\nCREATE": false, "x -- PostgreSQL database dump complete": false,
		strings.Repeat("x\n", 1<<16) + "--\n-- PostgreSQL database dump complete\n--\n\n":                       true,
		"--\n-- PostgreSQL database dump complete\n--\n" + strings.Repeat("INSERT INTO t VALUES (1);\n", 1<<10): false,
	} {
		_, err := io.ReadAll(ssh.CompressDump("postgres", strings.NewReader(text)))
		if (err == nil) != want {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

func TestBackupArgs(t *testing.T) {
	r, err := action.NewRegistry(newEnv(t, ssh.Options{}).family.Actions()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range []string{
		`{"engine":"postgres","database":"host=evil"}`, `{"engine":"postgres","database":"--version"}`, `{"engine":"mysql","database":"a b"}`,
		`{"engine":"mysql","database":"x","host":"-h"}`, `{"engine":"mysql","database":"x","user":"-u"}`, `{"engine":"mysql","database":"x","port":1}`,
		`{"engine":"mysql","database":"x","credential":"c"}`, `{"engine":"oracle","database":"x"}`, `{"engine":"mysql","database":"x","name":"a/b"}`,
		`{"engine":"postgres","database":"x","host":"a'b"}`,
	} {
		if err := r.Validate("backup_db", json.RawMessage(raw)); hostler.CodeOf(err) != hostler.CodeInvalid {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
