package sshconn

import (
	"context"
	"io"
	"time"

	"golang.org/x/crypto/ssh"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

// Shell is a login shell on a terminal, on a connection of its own: network devices
// count connections, and many allow one session on each.
type Shell struct {
	conn    *conn
	session *Session
}

// terminal is the payload of pty-req (RFC 4254, 6.2). It is wide, as devices cut or
// scroll longer lines, and sets no modes.
type terminal struct {
	Term                         string
	Columns, Rows, Width, Height uint32
	Modes                        string
}

// Shell logs in to the target and starts a shell. Jump hosts are shared with the
// pool's other connections.
func (p *Pool) Shell(ctx context.Context, t *Target) (*Shell, error) {
	c, err := p.dial(ctx, t.route, t.call)
	if err != nil {
		return nil, err
	}
	if !p.start(c.watch) {
		_ = c.client.Close()
		p.release(c.via)
		return nil, StoppingFault()
	}
	p.start(func() { c.keepAlive(p.opts.KeepAlive) })
	s, err := p.shellOn(ctx, c)
	if err == nil {
		return s, nil
	}
	_ = c.client.Close()
	if ctx.Err() != nil {
		return nil, action.StoppedFault(ctx, "before it started", "尚未开始")
	}
	return nil, action.NewFault(hostler.ErrKindRefused,
		"%s accepts the login of %q but starts no shell",
		"%s 允许 %q 登录，但未提供命令行", t.Where(), t.User).Because(err)
}

// shellOn opens the session. A request ignores contexts and a server may leave it
// unanswered, so the end of ConnectTimeout closes the connection.
func (p *Pool) shellOn(ctx context.Context, c *conn) (*Shell, error) {
	limited, cancel := context.WithTimeout(ctx, p.opts.ConnectTimeout)
	defer cancel()
	defer context.AfterFunc(limited, func() { _ = c.client.Close() })()
	s, err := c.newSession(limited)
	if err != nil {
		return nil, err
	}
	p.start(func() { ssh.DiscardRequests(s.Requests) })
	p.start(func() { _, _ = io.Copy(io.Discard, s.Stderr()) })
	pty := terminal{Term: "vt100", Columns: 511, Rows: 255}
	for _, req := range []struct {
		name    string
		payload []byte
	}{{"pty-req", ssh.Marshal(pty)}, {"shell", nil}} {
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

// Read implements io.Reader: what the shell prints. Its end closes the connection.
func (s *Shell) Read(b []byte) (int, error) {
	n, err := s.session.Read(b)
	if err != nil {
		_ = s.conn.client.Close()
	}
	return n, err
}

// Write implements io.Writer: it types.
func (s *Shell) Write(b []byte) (int, error) { return s.session.Write(b) }

// Close closes the shell and its connection, and waits until that has ended.
func (s *Shell) Close() error {
	err := s.conn.client.Close()
	<-s.conn.gone
	return err
}

// Gone is closed when the connection has ended.
func (s *Shell) Gone() <-chan struct{} { return s.conn.gone }

// Since returns when the shell was opened.
func (s *Shell) Since() time.Time { return s.conn.since }

// Trusted reports whether a job that brings newer decisions about host keys may use
// the shell.
func (s *Shell) Trusted(t *Target) bool { return s.conn.trustedFor(t.route) }
