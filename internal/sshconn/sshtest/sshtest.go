// Package sshtest runs a real OpenSSH server for tests.
//
// Model: Start makes throw-away host and user keys in a folder of its own,
// starts the sshd of the machine on a free loopback port and waits until it
// listens. The test's end stops the server and every process below it, by pid,
// and removes the folder. Everything that sshd logs is kept for assertions.
//
// As root the server lets root in, and users that NewUser makes; as anybody
// else, only the user who runs the test, by key.
package sshtest

import (
	"bytes"
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

// sshdPath is where Debian's openssh-server puts the server; sshd insists on
// being started by its absolute path.
const sshdPath = "/usr/sbin/sshd"

// Options are what a test may want to be different. The zero value is a server
// on 127.0.0.1 with an ed25519 host key.
type Options struct {
	// AnyAddress listens on 0.0.0.0, so that every 127.x.y.z is this server.
	AnyAddress bool
	// HostKeyTypes are ssh-keygen types; default: ed25519.
	HostKeyTypes []string
	// MaxSessions per connection; 0 leaves sshd's default of 10.
	MaxSessions int
	// Env is set for every session (SetEnv).
	Env map[string]string
	// LogLevel of sshd; default VERBOSE.
	LogLevel string
	// Config are further lines of sshd_config.
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
	s.makeHostKeys()
	s.start()
	tb.Cleanup(s.Stop)
	return s
}

// start runs sshd on a free port; another process may take the port between
// the choice and the bind, so it tries a few.
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

// launch starts the process and says whether it came to listen.
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
		"LogLevel " + cmpOr(s.opts.LogLevel, "VERBOSE"),
	}
	for _, t := range s.hostKeyTypes() {
		lines = append(lines, "HostKey "+s.hostKeyPath(t))
	}
	if s.opts.MaxSessions > 0 {
		lines = append(lines, "MaxSessions "+strconv.Itoa(s.opts.MaxSessions))
	}
	lines = append(lines, s.opts.Config...)
	if len(s.opts.Env) > 0 {
		var env []string
		for k, v := range s.opts.Env {
			env = append(env, fmt.Sprintf("%s=%q", k, v))
		}
		slices.Sort(env)
		lines = append(lines, "SetEnv "+strings.Join(env, " "))
	}
	return strings.Join(lines, "\n") + "\n"
}

// Stop ends the server and every process below it, the sessions' commands
// included. It may be called again.
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

// StopListening ends the listener only: connections go on, new ones are
// refused.
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

// DropConnections kills the processes that serve connections. The commands
// that run on them live on, as they do when a network breaks.
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

// SetConfig replaces the further lines of sshd_config. Connections that come
// after it see them; those that stand do not.
func (s *Server) SetConfig(lines ...string) {
	s.tb.Helper()
	s.opts.Config = lines
	s.StopListening()
	s.Restart()
}

// Log is what sshd logged so far.
func (s *Server) Log() string {
	b, err := os.ReadFile(s.log.Name())
	if err != nil {
		return err.Error()
	}
	return strings.ReplaceAll(string(b), "\r\n", "\n")
}

// openLog makes the log a file and no pipe: connections must be able to outlive
// the listener.
func (s *Server) openLog() {
	s.tb.Helper()
	f, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		s.tb.Fatalf("sshtest: %v", err)
	}
	s.tb.Cleanup(func() { _ = f.Close() })
	s.log = f
}

// Connections counts the connections that passed authentication so far.
func (s *Server) Connections() int {
	return len(regexp.MustCompile(`(?m)^Accepted \S+ for `).FindAllString(s.Log(), -1))
}

// HostKey is a host key's public part in authorized_keys form, without
// comment; typ is the ssh-keygen type, "" the first one.
func (s *Server) HostKey(typ string) string {
	s.tb.Helper()
	b, err := os.ReadFile(s.hostKeyPath(cmpOr(typ, s.hostKeyTypes()[0])) + ".pub")
	if err != nil {
		s.tb.Fatalf("host key: %v", err)
	}
	fields := strings.Fields(string(b))
	return fields[0] + " " + fields[1]
}

// Authorize lets the owner of a public key (authorized_keys form) in as well.
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

// Credential opens the server as User.
func (s *Server) Credential() *hostler.LeaseCredential {
	return &hostler.LeaseCredential{
		ID: 1, Version: 1, Kind: hostler.CredentialSSHKey, Username: s.User,
		Secret: hostler.Secret{PrivateKey: s.PrivateKey},
	}
}

// Asset is the server as a lease names it, with its first host key pinned.
func (s *Server) Asset() *hostler.LeaseAsset {
	return &hostler.LeaseAsset{
		ID: 1, Name: "sshtest", Address: s.Host, Port: s.Port, Platform: "linux",
		Credential: s.Credential(), HostKey: hostler.HostKeyStrict,
		HostKeys: []hostler.HostKey{PinnedKey(s.tb, s.Addr, s.HostKey(""))},
	}
}

// PinnedKey makes a pinned host key from its authorized_keys form.
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

// NewKey makes an ed25519 key: the private part in OpenSSH PEM, encrypted when
// there is a passphrase, and the public part in authorized_keys form.
func NewKey(tb testing.TB, passphrase string) (private, public string) {
	tb.Helper()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatalf("key: %v", err)
	}
	block, err := marshalKey(priv, passphrase)
	if err != nil {
		tb.Fatalf("key: %v", err)
	}
	sshPub, err := gossh.NewPublicKey(pub)
	if err != nil {
		tb.Fatalf("key: %v", err)
	}
	return string(pem.EncodeToMemory(block)), string(gossh.MarshalAuthorizedKey(sshPub))
}

func marshalKey(priv ed25519.PrivateKey, passphrase string) (*pem.Block, error) {
	if passphrase == "" {
		return gossh.MarshalPrivateKey(priv, "")
	}
	return gossh.MarshalPrivateKeyWithPassphrase(priv, "", []byte(passphrase))
}

// NewUser makes a user of the machine with a password until the test's end.
// It needs root.
func NewUser(tb testing.TB, password string) (name string) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Fatal("making a user needs root; run the tests as root, in a container for instance")
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

// publicDir is a folder that other users of the machine may read, which
// TB.TempDir is not: sshd reads authorized_keys as the user who logs in.
func publicDir(tb testing.TB) string {
	tb.Helper()
	if os.Geteuid() == 0 {
		// sshd's own privilege separation folder; packages make it at boot only.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			tb.Fatalf("sshtest: %v", err)
		}
	}
	dir, err := os.MkdirTemp("", "sshtest-") //nolint:usetesting // see above
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

func cmpOr(s, def string) string {
	if s == "" {
		return def
	}
	return s
}
