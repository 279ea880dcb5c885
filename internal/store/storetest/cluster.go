package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"hostler.dev/hostler/internal/store/postgres"
)

// Cluster is a temporary PostgreSQL server with fsync on, in its own folder, on a free
// port of the loopback address. A watcher process, a shell, stops it and removes the
// folder when its standard input is closed, which happens however this process exits.
type Cluster struct {
	dir      string
	port     int
	bin      string
	owner    *user.User // the user that the server runs as; nil: the user of this process
	watch    *exec.Cmd
	stdin    io.Closer
	made     atomic.Int64
	settings []string
}

// admin is the superuser of a cluster.
const admin = "hostler"

// shared is the cluster of this process's tests, started on first use.
var (
	shared = sync.OnceValues(func() (*Cluster, error) {
		c, err := StartCluster()
		if err != nil {
			return nil, err
		}
		started.Store(c)
		return c, c.makeTemplate()
	})
	started atomic.Pointer[Cluster]
)

// Postgres creates an empty, migrated database in this process's cluster and returns
// its connection string. The database is dropped when the test ends.
func Postgres(tb testing.TB) string {
	tb.Helper()
	c, err := shared()
	if err != nil {
		tb.Fatalf("PostgreSQL for tests: %v", err)
	}
	return c.Database(tb)
}

// Main runs a package's tests and then stops the cluster, if they used one. Call it from
// TestMain; without it the cluster is stopped shortly after the process exits. It returns,
// so that what TestMain deferred runs; the process then exits with the result of the tests.
func Main(m *testing.M) {
	m.Run()
	if c := started.Load(); c != nil {
		c.Stop()
	}
}

const template = "hostler_template"

func (c *Cluster) makeTemplate() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.exec(ctx, "CREATE DATABASE "+template); err != nil {
		return err
	}
	db, err := postgres.Open(ctx, c.DSN(template), postgres.Options{MaxConns: 2})
	if err != nil {
		return fmt.Errorf("migrate the template: %w", err)
	}
	return db.Close()
}

// Database creates a database from the migrated template.
func (c *Cluster) Database(tb testing.TB) string {
	tb.Helper()
	name := fmt.Sprintf("t%d", c.made.Add(1))
	if err := c.exec(tb.Context(), fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", name, template)); err != nil {
		tb.Fatalf("create a database: %v", err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := c.exec(ctx, fmt.Sprintf("DROP DATABASE %s WITH (FORCE)", name)); err != nil {
			tb.Errorf("drop the test's database: %v", err)
		}
	})
	return c.DSN(name)
}

// DSN returns the connection string of one of the cluster's databases.
func (c *Cluster) DSN(database string) string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", admin, c.port, database)
}

func (c *Cluster) exec(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, c.DSN("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, sql)
	return err
}

// StartCluster creates and starts a cluster with settings such as "fsync=off". Most tests
// share one cluster; see [Postgres].
func StartCluster(settings ...string) (*Cluster, error) {
	bin, err := findBinaries()
	if err != nil {
		return nil, err
	}
	c := &Cluster{bin: bin, settings: settings}
	if os.Geteuid() == 0 { // PostgreSQL refuses to run as root
		if c.owner, err = user.Lookup("postgres"); err != nil {
			return nil, fmt.Errorf("as root, PostgreSQL needs the user postgres: apt-get install postgresql (%w)", err)
		}
	}
	if err := c.create(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(c.dir))
	}
	if err := c.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(c.dir))
	}
	return c, nil
}

// findBinaries looks for the server's programs in Debian's folders, newest version
// first, and then in the PATH.
func findBinaries() (string, error) {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.SortFunc(dirs, func(a, b string) int { return majorVersion(b) - majorVersion(a) })
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err == nil {
			return dir, nil
		}
	}
	initdb, err := exec.LookPath("initdb")
	if err != nil {
		return "", errors.New("initdb of PostgreSQL 15 or newer is missing; install it: apt-get install postgresql")
	}
	if initdb, err = filepath.EvalSymlinks(initdb); err != nil {
		return "", err
	}
	return filepath.Dir(initdb), nil
}

func majorVersion(dir string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
	return n
}

func (c *Cluster) create() (err error) {
	if c.dir, err = os.MkdirTemp("", "hostler-pg-"); err != nil {
		return err
	}
	if c.owner != nil {
		uid, gid := c.ids()
		if err := os.Chown(c.dir, int(uid), int(gid)); err != nil {
			return err
		}
	}
	if c.port, err = freePort(); err != nil {
		return err
	}
	cmd := c.command(filepath.Join(c.bin, "initdb"), "-D", c.data(), "-U", admin, "-A", "trust",
		"-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

func (c *Cluster) data() string    { return filepath.Join(c.dir, "data") }
func (c *Cluster) logFile() string { return filepath.Join(c.dir, "log") }

func (c *Cluster) ids() (uid, gid uint32) {
	u, _ := strconv.ParseUint(c.owner.Uid, 10, 32)
	g, _ := strconv.ParseUint(c.owner.Gid, 10, 32)
	return uint32(u), uint32(g)
}

func (c *Cluster) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = "/"
	if c.owner != nil {
		uid, gid := c.ids()
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	}
	return cmd
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// watcher runs the server ("$1" …) and waits for its standard input: the line "keep"
// stops the server, the end of the input stops it and removes its files.
const watcher = `dir=$1; shift
"$@" </dev/null >>"$dir/log" 2>&1 &
pid=$!
trap '' INT TERM HUP
read word
kill -QUIT $pid 2>/dev/null
wait $pid
[ "$word" = keep ] || rm -rf "$dir"`

// Start starts the server and waits until it answers.
func (c *Cluster) Start() error {
	args := []string{
		"-c", watcher, "sh", c.dir, filepath.Join(c.bin, "postgres"), "-D", c.data(),
		"-p", strconv.Itoa(c.port), "-k", c.dir,
	}
	for _, set := range append([]string{
		"listen_addresses=127.0.0.1", "fsync=on", "max_connections=300", "shared_buffers=128MB",
		"max_wal_size=4GB", "logging_collector=off",
	}, c.settings...) {
		args = append(args, "-c", set)
	}
	c.watch = c.command("/bin/sh", args...)
	stdin, err := c.watch.StdinPipe()
	if err != nil {
		return err
	}
	c.stdin = stdin
	if err := c.watch.Start(); err != nil {
		return err
	}
	return c.await()
}

func (c *Cluster) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := c.exec(ctx, "SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			log, _ := os.ReadFile(c.logFile())
			c.Stop()
			return fmt.Errorf("PostgreSQL does not answer: %w; its log: %s", err, log)
		}
	}
}

// PID returns the process id of the running server, for tests that kill it.
func (c *Cluster) PID() (int, error) {
	b, err := os.ReadFile(filepath.Join(c.data(), "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(b), "\n")
	return strconv.Atoi(first)
}

// Halt stops the server immediately, like a crash, and keeps its files for Start.
func (c *Cluster) Halt() {
	if w, ok := c.stdin.(io.Writer); ok {
		_, _ = io.WriteString(w, "keep\n")
	}
	c.end()
}

// Stop stops the server and removes its files.
func (c *Cluster) Stop() { c.end() }

func (c *Cluster) end() {
	_ = c.stdin.Close()
	_ = c.watch.Wait()
}
