package ssh

import (
	"context"
	"io"
	"strings"
	"time"

	gossh "golang.org/x/crypto/ssh"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

// Way is how a call reaches its host, for a family that keeps shells of its own.
type Way struct {
	// Key is equal for ways that may share a shell: same address, port, user,
	// secret and jump hosts.
	Key     string
	Address string
	Port    int
	User    string

	host *host
}

// Way finds the way to a call's asset and hides its secrets from the output. Its
// error goes to ResultOf.
func (f *Family) Way(c *action.Call) (*Way, error) {
	h, err := f.hostOf(c)
	if err != nil {
		return nil, err
	}
	r := h.route
	return &Way{Key: r.key, Address: r.host, Port: r.port, User: r.user(), host: h}, nil
}

// Where names the host for people.
func (w *Way) Where() string { return w.host.route.where() }

// Hide adds values that Redact and the job's output must not show.
func (w *Way) Hide(values ...string) {
	for _, v := range values {
		if v != "" {
			w.host.secrets = append(w.host.secrets, v)
		}
	}
	if w.host.call.Redact != nil {
		w.host.call.Redact(values...)
	}
}

// Redact hides the call's secrets in a text that goes past the job's log.
func (w *Way) Redact(s string) string { return w.host.redact(s) }

// ResultOf makes an attempt's result of an error of Way or Shell: nothing was
// done on the host.
func ResultOf(err error) action.Result { return asFault(err).result() }

// Shell is a login shell on a terminal, on a connection of its own: a network
// device counts its connections, and many allow one session on each.
type Shell struct {
	conn    *conn
	session *session
}

// terminal is the payload of pty-req (RFC 4254, 6.2). It is wide, as devices cut
// or scroll longer lines, and has no modes.
type terminal struct {
	Term                         string
	Columns, Rows, Width, Height uint32
	Modes                        string
}

// Shell logs in and starts a shell. The host key is judged before any credential
// is sent, and jump hosts are shared with the family's other connections.
func (f *Family) Shell(ctx context.Context, w *Way) (*Shell, error) {
	r := w.host.route
	c, err := f.dial(ctx, r, w.host.call)
	if err != nil {
		return nil, err
	}
	if !f.start(c.watch) {
		_ = c.client.Close()
		f.release(c.via)
		return nil, stopping()
	}
	f.start(func() { c.keepAlive(f.opts.KeepAlive) })
	s, err := f.shellOn(ctx, c)
	if err == nil {
		return s, nil
	}
	_ = c.client.Close()
	if ctx.Err() != nil {
		return nil, stopped(ctx, "before it started", "尚未开始")
	}
	return nil, failed(hostler.ErrKindRefused,
		"%s lets %q log in but gives no shell", "%s 允许 %q 登录，但未提供命令行", r.where(), r.user()).because(err)
}

// shellOn opens the session. A request knows no context and a server may leave
// it unanswered, so the end of the time closes the connection.
func (f *Family) shellOn(ctx context.Context, c *conn) (*Shell, error) {
	limited, cancel := context.WithTimeout(ctx, f.opts.ConnectTimeout)
	defer cancel()
	defer context.AfterFunc(limited, func() { _ = c.client.Close() })()
	s, err := c.newSession(limited)
	if err != nil {
		return nil, err
	}
	f.start(func() { gossh.DiscardRequests(s.requests) })
	f.start(func() { _, _ = io.Copy(io.Discard, s.Stderr()) })
	pty := terminal{Term: "vt100", Columns: 511, Rows: 255}
	for _, req := range []struct {
		name    string
		payload []byte
	}{{"pty-req", gossh.Marshal(pty)}, {"shell", nil}} {
		ok, err := s.SendRequest(req.name, true, req.payload)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, io.ErrUnexpectedEOF
		}
	}
	return &Shell{conn: c, session: s}, nil
}

// Read reads what the shell prints; at its end the connection is closed.
func (s *Shell) Read(b []byte) (int, error) {
	n, err := s.session.Read(b)
	if err != nil {
		_ = s.conn.client.Close()
	}
	return n, err
}

// Write types.
func (s *Shell) Write(b []byte) (int, error) { return s.session.Write(b) }

// Close ends the shell and its connection.
func (s *Shell) Close() error {
	err := s.conn.client.Close()
	<-s.conn.gone
	return err
}

// Gone is closed when the connection has ended.
func (s *Shell) Gone() <-chan struct{} { return s.conn.gone }

// Since is when the shell was opened.
func (s *Shell) Since() time.Time { return s.conn.since }

// Trusted says whether a job that comes with newer decisions about host keys may
// use the shell.
func (s *Shell) Trusted(w *Way) bool { return s.conn.trusted(w.host.route) }

// Stopped makes the result of a call whose context ended while nothing of it was
// done, or could go on; en and zh say how far it came.
func Stopped(ctx context.Context, en, zh string) action.Result { return stopped(ctx, en, zh).result() }

// TimedOut says whether a call's context ended because its time was over.
func TimedOut(ctx context.Context) bool { return timedOut(ctx) }

// LastLine is the last line of a text, fit for an error text.
func LastLine(s string) string { return lastLine([]byte(strings.TrimSpace(s))) }
