// Package mariadbtest runs a MariaDB server for tests, as a child process on a free port.
package mariadbtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Server is a running server. Its user ops has the password Password.
type Server struct {
	Addr   string
	Socket string

	dir  string
	cmd  *exec.Cmd
	log  bytes.Buffer
	made atomic.Int64
}

// Password is that of the user ops.
const Password = "right"

var started atomic.Pointer[Server]

var shared = sync.OnceValues(func() (*Server, error) {
	s := &Server{}
	err := s.start()
	started.Store(s)
	return s, err
})

// Main runs a package's tests and then stops the server, if they used one.
func Main(m *testing.M, run func(*testing.M)) {
	run(m)
	Stop()
}

// Stop stops the server, if there is one. No test may use it after that.
func Stop() {
	if s := started.Load(); s != nil {
		s.stop()
	}
}

// Database creates an empty database and returns its name. The server is started at the first
// call; it fails the test if MariaDB is not installed, which scripts/setup.sh does.
func Database(tb testing.TB) (*Server, string) {
	tb.Helper()
	s, err := shared()
	if err != nil {
		tb.Fatalf("MariaDB for tests (scripts/setup.sh test installs it): %v\n%s", err, s.log.String())
	}
	name := fmt.Sprintf("t%d", s.made.Add(1))
	s.Exec(tb, "", "CREATE DATABASE "+name+"; GRANT ALL ON "+name+".* TO ops@'%';")
	return s, name
}

func (s *Server) start() error {
	var err error
	if s.dir, err = os.MkdirTemp("", "mariadb-*"); err != nil { // short: the path of a socket is limited
		return err
	}
	me, err := user.Current()
	if err != nil {
		return err
	}
	data, as := filepath.Join(s.dir, "data"), "--user="+me.Username
	install := exec.Command("mariadb-install-db", "--no-defaults", "--datadir="+data, as,
		"--auth-root-authentication-method=normal", "--skip-test-db")
	install.Stdout, install.Stderr = &s.log, &s.log
	if err := install.Run(); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.Addr, s.Socket = l.Addr().String(), filepath.Join(s.dir, "sock")
	_, port, _ := net.SplitHostPort(s.Addr)
	_ = l.Close()
	s.cmd = exec.Command("/usr/sbin/mariadbd", "--no-defaults", "--datadir="+data, as, "--port="+port, "--bind-address=127.0.0.1",
		"--socket="+s.Socket, "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=16M", "--skip-name-resolve")
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	if err := s.await(); err != nil {
		return err
	}
	return s.exec(io.Discard, "", "CREATE USER ops@'%' IDENTIFIED BY '"+Password+"'")
}

func (s *Server) stop() {
	if s.cmd != nil && s.cmd.Process != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	}
	_ = os.RemoveAll(s.dir)
}

func (s *Server) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Addr); err == nil {
			return c.Close()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Exec runs statements in a database as root, and returns what they print, without the names
// of columns.
func (s *Server) Exec(tb testing.TB, database, statements string) string {
	tb.Helper()
	var out bytes.Buffer
	if err := s.exec(&out, database, statements); err != nil {
		tb.Fatalf("%s: %v: %s", statements, err, out.String())
	}
	return out.String()
}

func (s *Server) exec(out io.Writer, database, statements string) error {
	cmd := exec.Command("mariadb", "--no-defaults", "-uroot", "--socket="+s.Socket, "-N", "-B", database)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(statements), out, out
	return cmd.Run()
}
