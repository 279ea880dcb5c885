// Package sshtest runs a real OpenSSH server for tests.
//
// # Model
//
// [Start] creates temporary host and user keys in a folder of its own, starts the machine's
// sshd on a free loopback port and waits until it listens. The test's end stops the server and
// every process below it, by pid, and removes the folder. [Server.Log] is everything that sshd
// logged. The home folder of sessions is empty: what the startup files of the user who runs
// the tests do to each session (pyenv, for one, takes a lock in his home folder and half a
// second) is neither tested nor waited for.
//
//	s := sshtest.Start(t, sshtest.Options{MaxSessions: 1})
//	asset := s.Asset() // for a lease, with the host key pinned
//
// A test that runs as root can log in as root and as users that [NewUser] creates; any other
// test only as the user who runs it, by key.
//
// [Relay] silences or cuts connections. [PIDFile] and [Running] observe remote programs.
package sshtest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"hostler.dev/hostler"
)

// sshdPath is where Debian's openssh-server installs the server. sshd must be started by its
// absolute path.
const sshdPath = "/usr/sbin/sshd"

// Options configure a Server. The zero value is a server on 127.0.0.1 with an ed25519 host
// key.
type Options struct {
	// AnyAddress listens on 0.0.0.0, so that every 127.x.y.z is this server.
	AnyAddress bool
	// HostKeyTypes are ssh-keygen types; default: ed25519.
	HostKeyTypes []string
	// MaxSessions per connection; 0 means sshd's default of 10.
	MaxSessions int
	// Env is set for every session (SetEnv).
	Env map[string]string
	// LogLevel of sshd; default VERBOSE.
	LogLevel string
	// Config has further lines of sshd_config.
	Config []string
}

// Server is a running sshd.
type Server struct {
	// Addr is host:port; Host is 127.0.0.1 also with AnyAddress.
	Addr string
	Host string
	Port int
	// User may log in with PrivateKey (OpenSSH PEM, not encrypted).
	User       string
	PrivateKey string

	tb   testing.TB
	dir  string
	opts Options

	log  *os.File
	cmd  *exec.Cmd
	done chan struct{}
}

// Start runs a server until the test's end.
func Start(tb testing.TB, opts Options) *Server {
	tb.Helper()
	if _, err := os.Stat(sshdPath); err != nil {
		tb.Fatalf("no %s; on Debian: apt-get install openssh-server", sshdPath)
	}
	s := &Server{tb: tb, opts: opts, dir: publicDir(tb), Host: "127.0.0.1"}
	s.User = currentUser(tb)
	s.openLog()
	var authorized string
	s.PrivateKey, authorized = NewKey(tb, "")
	s.write("authorized_keys", authorized)
	if err := os.Mkdir(s.home(), 0o755); err != nil { //nolint:gosec // users that tests create enter it
		tb.Fatalf("sshtest: %v", err)
	}
	s.makeHostKeys()
	s.start()
	tb.Cleanup(s.Stop)
	return s
}

// start runs sshd on a free port. It tries several: another process may bind a port after it
// was chosen.
func (s *Server) start() {
	s.tb.Helper()
	for range 5 {
		if s.Port == 0 {
			s.Port = freePort(s.tb)
			s.Addr = net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
		}
		if s.launch() {
			return
		}
		s.Port = 0
	}
	s.tb.Fatalf("sshd does not start:\n%s", s.Log())
}

// launch starts the process and reports whether it listens.
func (s *Server) launch() bool {
	s.write("sshd_config", s.config())
	mark := len(s.Log())
	cmd := exec.Command(sshdPath, "-D", "-e", "-f", filepath.Join(s.dir, "sshd_config"))
	cmd.Stderr = s.log
	if err := cmd.Start(); err != nil {
		s.tb.Fatalf("start sshd: %v", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait()
	}()
	s.cmd, s.done = cmd, done
	for range 500 {
		select {
		case <-done:
			return false
		case <-time.After(10 * time.Millisecond):
		}
		if strings.Contains(s.Log()[mark:], "Server listening on") {
			return true
		}
	}
	return false
}

func (s *Server) config() string {
	listen := s.Host
	if s.opts.AnyAddress {
		listen = "0.0.0.0"
	}
	lines := []string{
		"ListenAddress " + listen,
		"Port " + strconv.Itoa(s.Port),
		"PidFile none",
		"UsePAM no",
		"StrictModes no",
		"PermitRootLogin yes",
		"PubkeyAuthentication yes",
		"PasswordAuthentication yes",
		"KbdInteractiveAuthentication no",
		"UseDNS no",
		"PrintMotd no",
		"LoginGraceTime 30",
		"MaxStartups 1000",
		"AuthorizedKeysFile " + filepath.Join(s.dir, "authorized_keys"),
		"LogLevel " + cmp.Or(s.opts.LogLevel, "VERBOSE"),
		"Subsystem sftp internal-sftp",
	}
	for _, t := range s.hostKeyTypes() {
		lines = append(lines, "HostKey "+s.hostKeyPath(t))
	}
	if s.opts.MaxSessions > 0 {
		lines = append(lines, "MaxSessions "+strconv.Itoa(s.opts.MaxSessions))
	}
	lines = append(lines, s.opts.Config...)
	env := []string{fmt.Sprintf("HOME=%q", s.home())}
	for k, v := range s.opts.Env {
		env = append(env, fmt.Sprintf("%s=%q", k, v))
	}
	slices.Sort(env)
	lines = append(lines, "SetEnv "+strings.Join(env, " "))
	return strings.Join(lines, "\n") + "\n"
}

// home is the home folder of all sessions.
func (s *Server) home() string { return filepath.Join(s.dir, "home") }

// Stop stops the server and every process below it, including the sessions' commands. It may
// be called more than once.
func (s *Server) Stop() {
	if s.cmd == nil {
		return
	}
	below := descendants(s.cmd.Process.Pid)
	_ = s.cmd.Process.Kill()
	<-s.done
	for _, pid := range below {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	s.cmd = nil
}

// StopListening stops only the listener: open connections work on, new ones are refused.
func (s *Server) StopListening() {
	below := descendants(s.cmd.Process.Pid)
	_ = s.cmd.Process.Kill()
	<-s.done
	s.cmd = nil
	s.tb.Cleanup(func() {
		for _, pid := range below {
			if isSSHD(pid) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	})
}

// Restart starts a stopped server again at the same address.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Stop()
	for range 100 {
		if s.launch() {
			return
		}
		<-time.After(50 * time.Millisecond)
	}
	s.tb.Fatalf("sshd does not start again:\n%s", s.Log())
}

// DropConnections kills the processes that serve connections. Their commands keep running, as
// after a network failure.
func (s *Server) DropConnections() {
	for _, pid := range descendants(s.cmd.Process.Pid) {
		if isSSHD(pid) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// RotateHostKeys replaces the host keys and restarts.
func (s *Server) RotateHostKeys() {
	s.tb.Helper()
	s.makeHostKeys()
	s.Restart()
}

// Log returns what sshd logged so far.
func (s *Server) Log() string {
	b, err := os.ReadFile(s.log.Name())
	if err != nil {
		return err.Error()
	}
	return strings.ReplaceAll(string(b), "\r\n", "\n")
}

// openLog creates the log as a file. Connections write to it after the listener has stopped,
// which a pipe would not allow.
func (s *Server) openLog() {
	s.tb.Helper()
	f, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		s.tb.Fatalf("sshtest: %v", err)
	}
	s.tb.Cleanup(func() { _ = f.Close() })
	s.log = f
}

// Connections counts the connections that were authenticated so far.
func (s *Server) Connections() int {
	return len(regexp.MustCompile(`(?m)^Accepted \S+ for `).FindAllString(s.Log(), -1))
}

// HostKey returns a host key's public part in authorized_keys form, without comment. typ is the
// ssh-keygen type; "" is the first one.
func (s *Server) HostKey(typ string) string {
	s.tb.Helper()
	b, err := os.ReadFile(s.hostKeyPath(cmp.Or(typ, s.hostKeyTypes()[0])) + ".pub")
	if err != nil {
		s.tb.Fatalf("host key: %v", err)
	}
	fields := strings.Fields(string(b))
	return fields[0] + " " + fields[1]
}

// Authorize also accepts a public key (authorized_keys form).
func (s *Server) Authorize(publicKey string) {
	s.tb.Helper()
	f, err := os.OpenFile(filepath.Join(s.dir, "authorized_keys"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		s.tb.Fatalf("authorize: %v", err)
	}
	defer f.Close()
	if _, err := f.WriteString(strings.TrimSpace(publicKey) + "\n"); err != nil {
		s.tb.Fatalf("authorize: %v", err)
	}
}

// Credential returns the credential of User.
func (s *Server) Credential() *hostler.LeaseCredential {
	return &hostler.LeaseCredential{
		ID: 1, Version: 1, Kind: hostler.CredentialSSHKey, Username: s.User,
		Secret: hostler.Secret{PrivateKey: s.PrivateKey},
	}
}

// Asset returns the server as the asset of a lease, with its first host key pinned.
func (s *Server) Asset() *hostler.LeaseAsset {
	return &hostler.LeaseAsset{
		ID: 1, Name: "sshtest", Address: s.Host, Port: s.Port, Platform: "linux",
		Credential: s.Credential(), HostKey: hostler.HostKeyStrict,
		HostKeys: []hostler.HostKey{PinnedKey(s.tb, s.Addr, s.HostKey(""))},
	}
}

// PinnedKey returns a pinned host key from its authorized_keys form.
func PinnedKey(tb testing.TB, addr, publicKey string) hostler.HostKey {
	tb.Helper()
	key, _, _, _, err := gossh.ParseAuthorizedKey([]byte(publicKey))
	if err != nil {
		tb.Fatalf("host key: %v", err)
	}
	return hostler.HostKey{
		Address: addr, Type: key.Type(), Fingerprint: gossh.FingerprintSHA256(key),
		PublicKey: publicKey, State: hostler.HostKeyPinned,
	}
}

// NewKey creates an ed25519 key: the private part in OpenSSH PEM, encrypted if there is a
// passphrase, and the public part in authorized_keys form.
func NewKey(tb testing.TB, passphrase string) (private, public string) {
	tb.Helper()
	if passphrase != "" {
		// The key derivation of x/crypto/ssh has 16 rounds: seconds under the race detector.
		path := filepath.Join(tb.TempDir(), "key")
		run(tb, "", "ssh-keygen", "-q", "-t", "ed25519", "-a", "1", "-N", passphrase, "-C", "", "-f", path)
		return readKey(tb, path), readKey(tb, path+".pub")
	}
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatalf("key: %v", err)
	}
	block, err := gossh.MarshalPrivateKey(priv, "")
	if err != nil {
		tb.Fatalf("key: %v", err)
	}
	sshPub, err := gossh.NewPublicKey(pub)
	if err != nil {
		tb.Fatalf("key: %v", err)
	}
	return string(pem.EncodeToMemory(block)), string(gossh.MarshalAuthorizedKey(sshPub))
}

func readKey(tb testing.TB, path string) string {
	tb.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		tb.Fatalf("key: %v", err)
	}
	return string(b)
}

// NewUser creates a user of the machine with a password, until the test's end. It needs root.
func NewUser(tb testing.TB, password string) (name string) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Fatal("creating a user needs root; run the tests as root, for instance in a container")
	}
	var b [4]byte
	_, _ = rand.Read(b[:])
	name = "hst" + hex.EncodeToString(b[:])
	run(tb, "", "useradd", "--create-home", "--shell", "/bin/sh", name)
	tb.Cleanup(func() { _ = exec.Command("userdel", "--force", "--remove", name).Run() })
	run(tb, name+":"+password+"\n", "chpasswd")
	return name
}

func run(tb testing.TB, stdin, name string, args ...string) {
	tb.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(tb.Context()), name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("%s: %v\n%s", name, err, out)
	}
}

func (s *Server) hostKeyTypes() []string {
	if len(s.opts.HostKeyTypes) > 0 {
		return s.opts.HostKeyTypes
	}
	return []string{"ed25519"}
}

func (s *Server) hostKeyPath(typ string) string {
	return filepath.Join(s.dir, "host_"+typ)
}

func (s *Server) makeHostKeys() {
	s.tb.Helper()
	for _, t := range s.hostKeyTypes() {
		path := s.hostKeyPath(t)
		_ = os.Remove(path)
		run(s.tb, "", "ssh-keygen", "-q", "-t", t, "-N", "", "-C", "", "-f", path)
	}
}

func (s *Server) write(name, content string) {
	s.tb.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o644); err != nil {
		s.tb.Fatalf("sshtest: %v", err)
	}
}

// publicDir returns a folder that other users of the machine can read, unlike TB.TempDir: sshd
// reads authorized_keys as the user who logs in.
func publicDir(tb testing.TB) string {
	tb.Helper()
	if os.Geteuid() == 0 {
		// sshd's privilege separation folder, which is otherwise only created at boot.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			tb.Fatalf("sshtest: %v", err)
		}
	}
	dir, err := os.MkdirTemp("", "sshtest-") //nolint:usetesting // other users cannot read TB.TempDir
	if err != nil {
		tb.Fatalf("sshtest: %v", err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		tb.Fatalf("sshtest: %v", err)
	}
	return dir
}

func currentUser(tb testing.TB) string {
	tb.Helper()
	u, err := user.Current()
	if err != nil {
		tb.Fatalf("sshtest: %v", err)
	}
	return u.Username
}

func freePort(tb testing.TB) int {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("sshtest: %v", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// descendants lists the processes below pid.
func descendants(pid int) []int {
	children := map[int][]int{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		p, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if parent, ok := parentOf(p); ok {
			children[parent] = append(children[parent], p)
		}
	}
	var all []int
	next := children[pid]
	for len(next) > 0 {
		p := next[0]
		all = append(all, p)
		next = append(next[1:], children[p]...)
	}
	return all
}

func parentOf(pid int) (int, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	_, rest, ok := strings.Cut(string(b[bytes.LastIndexByte(b, ')')+1:]), " ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 2 {
		return 0, false
	}
	parent, err := strconv.Atoi(fields[1])
	return parent, err == nil
}

func isSSHD(pid int) bool {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return strings.HasPrefix(string(b), "sshd")
}
