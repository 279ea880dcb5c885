// Package devicetest runs network devices for tests: CLIs over SSH in the test's process.
//
// # Model
//
// A [Device] listens on a loopback address and accepts the login of one user. Each shell is a
// CLI of the device's dialect, with a mode, a hostname and a pager of its own. The device
// records what is typed; [Options] enable faults.
package devicetest

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	gossh "golang.org/x/crypto/ssh"
)

// Dialect is the kind of CLI of a device.
type Dialect int

// The dialects.
const (
	IOSXE Dialect = iota
	VRP
)

// Platform returns the dialect's name in Hostler.
func (d Dialect) Platform() string {
	if d == VRP {
		return "huawei_vrp"
	}
	return "cisco_iosxe"
}

// Options configure a device. The zero value is an IOS-XE device that refuses every login.
type Options struct {
	Dialect  Dialect
	Hostname string // R1
	User     string // admin
	Password string
	// Interactive asks for the password by keyboard-interactive only.
	Interactive bool
	// Key is a public key that is accepted, in authorized_keys form.
	Key string
	// Enable is the password of enable; "" starts at the enabled level.
	Enable string
	// DropAt closes the connection when this line is typed, before any reply.
	DropAt string
	// Candidate makes VRP collect lines until commit, as VRP 8 does.
	Candidate bool
	// AskAtLogin asks whether to change the password before the first prompt, and
	// ends the session unless the answer is no.
	AskAtLogin bool
	// AskFile makes VRP ask for a file name when it saves.
	AskFile bool
	// KeepPaging refuses to disable the pager.
	KeepPaging bool
	// DropIdle replies to the first empty line of each CLI with the prompt, and closes the
	// connection.
	DropIdle bool
	// Replies are the exact replies to lines outside configuration; "\x00" is a short
	// pause.
	Replies map[string]string
	// EchoASCII echoes only ASCII characters.
	EchoASCII bool
	// HangAt is a line without a reply.
	HangAt string
	// Delay is the pause before each reply.
	Delay time.Duration
	// LoginDelay is the pause before the handshake.
	LoginDelay time.Duration
}

// Device is a running device.
type Device struct {
	Address string
	Port    int

	opts   Options
	l      net.Listener
	config *gossh.ServerConfig
	wg     sync.WaitGroup
	quit   chan struct{}

	mu        sync.Mutex
	conns     map[net.Conn]struct{}
	typed     []string
	passwords []string
	logins    int
	saved     int
	running   []string
	silenced  int // logins up to this number get no more replies
}

// Serve runs a device on a listener until Close.
func Serve(l net.Listener, opts Options) (*Device, error) {
	if opts.Hostname == "" {
		opts.Hostname = "R1"
	}
	if opts.User == "" {
		opts.User = "admin"
	}
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return nil, errors.New("devicetest: not a TCP listener")
	}
	d := &Device{
		Address: addr.IP.String(), Port: addr.Port, opts: opts, l: l,
		quit: make(chan struct{}), conns: map[net.Conn]struct{}{},
	}
	if err := d.RotateHostKey(); err != nil {
		return nil, err
	}
	d.wg.Go(d.accept)
	return d, nil
}

// RotateHostKey gives the device another host key.
func (d *Device) RotateHostKey() error {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("devicetest: %w", err)
	}
	signer, err := gossh.NewSignerFromKey(private)
	if err != nil {
		return fmt.Errorf("devicetest: %w", err)
	}
	config := d.auth()
	config.AddHostKey(signer)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.config = config
	return nil
}

func (d *Device) auth() *gossh.ServerConfig {
	config := &gossh.ServerConfig{PublicKeyCallback: d.checkKey}
	if d.opts.Interactive {
		config.KeyboardInteractiveCallback = func(
			m gossh.ConnMetadata, ask gossh.KeyboardInteractiveChallenge,
		) (*gossh.Permissions, error) {
			answers, err := ask("", "", []string{"Password: "}, []bool{false})
			if err != nil || len(answers) != 1 {
				return nil, errors.New("no answer")
			}
			return d.checkPassword(m, []byte(answers[0]))
		}
		return config
	}
	config.PasswordCallback = d.checkPassword
	return config
}

func (d *Device) checkPassword(m gossh.ConnMetadata, password []byte) (*gossh.Permissions, error) {
	d.mu.Lock()
	d.passwords = append(d.passwords, string(password))
	d.mu.Unlock()
	right := subtle.ConstantTimeCompare(password, []byte(d.opts.Password)) == 1
	if m.User() != d.opts.User || !right || d.opts.Password == "" {
		return nil, errors.New("wrong password")
	}
	return nil, nil //nolint:nilnil // accepts the login
}

func (d *Device) checkKey(m gossh.ConnMetadata, key gossh.PublicKey) (*gossh.Permissions, error) {
	shown := strings.TrimSpace(string(gossh.MarshalAuthorizedKey(key)))
	if m.User() != d.opts.User || d.opts.Key == "" || shown != strings.TrimSpace(d.opts.Key) {
		return nil, errors.New("wrong key")
	}
	return nil, nil //nolint:nilnil // accepts the login
}

// Close stops the device and closes its connections.
func (d *Device) Close() {
	close(d.quit)
	_ = d.l.Close()
	d.DropConnections()
	d.wg.Wait()
}

// DropConnections breaks every connection.
func (d *Device) DropConnections() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for nc := range d.conns {
		_ = nc.Close()
	}
}

// Silence makes the open CLIs reply no more, as after a restart of the device or of a
// firewall. Later logins work.
func (d *Device) Silence() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.silenced = d.logins
}

// replies reports whether a login still gets replies.
func (d *Device) replies(login int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return login > d.silenced
}

// Typed lists the lines that were typed, without passwords.
func (d *Device) Typed() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.typed...)
}

// Passwords lists the passwords that were tried at login.
func (d *Device) Passwords() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.passwords...)
}

// Logins counts the logins.
func (d *Device) Logins() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.logins
}

// Saved counts how often the configuration was saved.
func (d *Device) Saved() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.saved
}

// Running lists the lines of the running configuration.
func (d *Device) Running() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.running...)
}

func (d *Device) accept() {
	for {
		nc, err := d.l.Accept()
		if err != nil {
			return
		}
		d.mu.Lock()
		d.conns[nc] = struct{}{}
		config := d.config
		d.mu.Unlock()
		select {
		case <-d.quit:
			_ = nc.Close()
		default:
		}
		d.wg.Go(func() {
			d.serve(nc, config)
			_ = nc.Close()
			d.mu.Lock()
			defer d.mu.Unlock()
			delete(d.conns, nc)
		})
	}
}

func (d *Device) serve(nc net.Conn, config *gossh.ServerConfig) {
	d.pause(d.opts.LoginDelay)
	conn, chans, reqs, err := gossh.NewServerConn(nc, config)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	d.mu.Lock()
	d.logins++
	login := d.logins
	d.mu.Unlock()
	d.wg.Go(func() { gossh.DiscardRequests(reqs) })
	for nch := range chans {
		ch, reqs, err := nch.Accept()
		if err != nil {
			return
		}
		d.wg.Go(func() {
			for r := range reqs {
				_ = r.Reply(r.Type == "pty-req" || r.Type == "shell", nil)
				if r.Type == "shell" {
					d.wg.Go(func() {
						d.shell(ch, login)
						_ = conn.Close()
					})
				}
			}
		})
	}
}

func (d *Device) pause(t time.Duration) {
	if t == 0 {
		return
	}
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.quit:
	}
}

// shell runs one CLI.
func (d *Device) shell(ch gossh.Channel, login int) {
	s := &session{
		device: d, ch: ch, in: bufio.NewReader(ch), name: d.opts.Hostname, enabled: d.opts.Enable == "", page: 5,
	}
	s.print("Authorised access only\r\n\r\n")
	if d.opts.AskAtLogin {
		s.print("Warning: The initial password poses security risks.\r\n" +
			"The password needs to be changed. Change now? [Y/N]:")
		if answer, err := s.read(true); err != nil || !strings.EqualFold(answer, "n") {
			return
		}
	}
	for !s.over {
		s.print(s.prompt())
		line, err := s.read(true)
		if err != nil {
			return
		}
		if !d.replies(login) {
			<-d.quit
			return
		}
		if line == "" && d.opts.DropIdle {
			s.print(s.prompt())
			return
		}
		if line == "" {
			continue
		}
		d.mu.Lock()
		d.typed = append(d.typed, line)
		d.mu.Unlock()
		d.pause(d.opts.Delay)
		switch line {
		case d.opts.DropAt:
			return
		case d.opts.HangAt:
			<-d.quit
			return
		}
		s.reply(line)
	}
}

// reply replies to a line.
func (s *session) reply(line string) {
	text, known := s.device.opts.Replies[line]
	switch {
	case known && s.view == "":
		for i, part := range strings.Split(text, "\x00") {
			if i > 0 {
				s.device.pause(300 * time.Millisecond)
			}
			s.print(part)
		}
	case s.device.opts.Dialect == VRP:
		s.vrp(line)
	default:
		s.ios(line)
	}
}

// session is the state of one CLI.
type session struct {
	device  *Device
	ch      gossh.Channel
	in      *bufio.Reader
	name    string
	enabled bool
	view    string // "" outside configuration; otherwise config, config-if, …
	page    int    // lines per page; 0 disables the pager
	over    bool
	// candidate is the lines that are not committed yet.
	candidate []string
}

func (s *session) print(text string) { _, _ = io.WriteString(s.ch, text) }

func (s *session) printLine(line string) { s.print(line + "\r\n") }

// read reads a line and, with echo, prints what is typed.
func (s *session) read(echo bool) (string, error) {
	var b []byte
	for {
		c, err := s.in.ReadByte()
		if err != nil {
			return "", fmt.Errorf("devicetest: %w", err)
		}
		if c == '\n' || c == '\r' {
			s.print("\r\n")
			return string(b), nil
		}
		b = append(b, c)
		if echo && (c < 0x80 || !s.device.opts.EchoASCII) {
			_, _ = s.ch.Write([]byte{c})
		}
	}
}

// show prints lines through the pager.
func (s *session) show(mark string, lines []string) {
	for i, l := range lines {
		if s.page > 0 && i > 0 && i%s.page == 0 {
			s.print(mark)
			if _, err := s.in.ReadByte(); err != nil {
				return
			}
			if s.device.opts.Dialect == VRP {
				s.print("\x1b[42D" + strings.Repeat(" ", 42) + "\x1b[42D")
			} else {
				n := len(mark)
				s.print(strings.Repeat("\b", n) + strings.Repeat(" ", n) + strings.Repeat("\b", n))
			}
		}
		s.printLine(l)
	}
}

// Interfaces is the reply to "show interfaces" and "display interface": several pages, with
// indented lines.
func Interfaces() []string {
	var lines []string
	for i := range 12 {
		lines = append(lines, fmt.Sprintf("%*sInterface %d is up", i%4, "", i))
	}
	return lines
}

// broken prints a line whose first part looks like a prompt, with a pause after it, as a
// network may cause.
func (s *session) broken(prompt, rest string) {
	s.print(prompt)
	s.device.pause(300 * time.Millisecond)
	s.printLine(rest)
}

// run adds a line to the running configuration.
func (s *session) run(line string) {
	s.device.mu.Lock()
	defer s.device.mu.Unlock()
	s.device.running = append(s.device.running, line)
}

func (s *session) save() {
	s.device.mu.Lock()
	defer s.device.mu.Unlock()
	s.device.saved++
}

func (s *session) prompt() string {
	if s.device.opts.Dialect == VRP {
		return s.vrpPrompt()
	}
	switch {
	case s.view != "":
		return s.name + "(" + s.view + ")#"
	case s.enabled:
		return s.name + "#"
	}
	return s.name + ">"
}

func (s *session) vrpPrompt() string {
	mark := ""
	switch {
	case !s.device.opts.Candidate:
	case len(s.candidate) > 0:
		mark = "*"
	default:
		mark = "~"
	}
	switch s.view {
	case "":
		return "<" + s.name + ">"
	case "config":
		return "[" + mark + s.name + "]"
	}
	return "[" + mark + s.name + "-" + s.view + "]"
}
