package mail

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/big"
	"mime"
	"mime/multipart"
	"net"
	netmail "net/mail"
	"net/netip"
	"strings"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/action/actiontest"
)

var loopback = netip.MustParsePrefix("127.0.0.0/8")

// sink is a mail server with STARTTLS and a password. Its mode is what goes wrong.
type sink struct {
	addr, ca string
	tls      *tls.Config
	mode     string
	mails    chan string
}

func newSink(t *testing.T, mode string) *sink {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	s := &sink{
		addr: l.Addr().String(), ca: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), mode: mode,
		tls:   &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		mails: make(chan string, 9),
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return s
}

func (s *sink) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	r := bufio.NewReader(c)
	say := func(text string) { _, _ = fmt.Fprint(c, text+"\r\n") }
	if s.mode == "endless" {
		for {
			if _, err := fmt.Fprint(c, "220-"+strings.Repeat("x", 60)+"\r\n"); err != nil {
				return
			}
		}
	}
	if s.mode == "silent" {
		_, _ = io.Copy(io.Discard, c)
		return
	}
	say("220 ready")
	secure := false
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch verb, rest, _ := strings.Cut(strings.TrimSpace(line), " "); verb {
		case "EHLO":
			say("250-sink")
			if !secure && s.mode != "plain" {
				say("250-STARTTLS")
			}
			if secure {
				say("250-AUTH PLAIN")
			}
			say("250 8BITMIME")
		case "STARTTLS":
			say("220 go")
			t := tls.Server(c, s.tls)
			c, r, secure = t, bufio.NewReader(t), true
		case "AUTH":
			b, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(rest, "PLAIN "))
			if !secure || string(b) != "\x00ops\x00right" {
				say("535 wrong password")
				continue
			}
			say("235 ok")
		case "RCPT":
			if s.mode == "reject" {
				say("550 no such user")
				continue
			}
			say("250 ok")
		case "DATA":
			say("354 go")
			var b strings.Builder
			for {
				l, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if l == ".\r\n" {
					break
				}
				b.WriteString(strings.TrimPrefix(l, "."))
			}
			s.mails <- b.String()
			switch s.mode {
			case "lost":
				return
			case "full":
				say("452 disk full")
				continue
			}
			say("250 queued")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

// send runs the action.
func (s *sink) send(t *testing.T, scheme, password string, more map[string]any, files ...[]byte) *actiontest.Attempt {
	t.Helper()
	args := map[string]any{
		"server": scheme + "://" + s.addr, "from": "Hostler <h@example.com>", "to": []string{"a@example.com"}, "subject": "报告 1",
		"text": "plain text", "ca": s.ca,
	}
	maps.Copy(args, more)
	if password != "" {
		args["credential"] = "mail"
	}
	var ids []string
	for i := range files {
		ids = append(ids, hostler.ArtefactID(i+1).String())
	}
	if ids != nil {
		args["attachments"] = ids
	}
	a := actiontest.New(nil, args)
	a.Call.Job = 7
	for i, f := range files {
		a.Give(fmt.Sprintf("文件 %d.csv", i), "text/csv", f)
	}
	a.Call.Credentials["mail"] = hostler.LeaseCredential{
		Kind: hostler.CredentialPassword, Username: "ops", Secret: hostler.Secret{Password: password},
	}
	r, err := action.NewRegistry(Actions(loopback)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Validate("email", a.Call.Args); err != nil {
		t.Fatal(err)
	}
	return a.Run(t.Context(), Actions(loopback)[0])
}

func TestMailWithAttachments(t *testing.T) {
	s := newSink(t, "")
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	a := s.send(t, "smtp", "right", map[string]any{"html": "<b>bold</b>", "cc": []string{"b@example.com"}}, big, []byte(".\r\n..x"))
	a.MustEnd(t, hostler.OutcomeSucceeded, "")
	if got := a.Value.(Sent); got.Recipients != 2 || got.Attachments != 2 || !strings.Contains(got.MessageID, "job_") {
		t.Errorf("got %+v", got)
	}
	msg, err := netmail.ReadMessage(strings.NewReader(<-s.mails))
	if err != nil {
		t.Fatal(err)
	}
	if subject, err := new(mime.WordDecoder).DecodeHeader(msg.Header.Get("Subject")); err != nil || subject != "报告 1" {
		t.Errorf("subject %q, %v", subject, err)
	}
	files := map[string][]byte{}
	texts := readParts(t, msg.Header.Get("Content-Type"), msg.Body, files)
	if !strings.Contains(texts, "plain text") || !strings.Contains(texts, "<b>bold</b>") {
		t.Errorf("texts: %q", texts)
	}
	if !bytes.Equal(files["文件 0.csv"], big) || string(files["文件 1.csv"]) != ".\r\n..x" {
		t.Errorf("files: %d of %d", len(files), 2)
	}
}

// readParts reads the parts of a mail: the texts joined, and the files by name.
func readParts(t *testing.T, contentType string, body io.Reader, files map[string][]byte) (texts string) {
	t.Helper()
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(kind, "multipart/") {
		b, _ := io.ReadAll(body)
		return string(b)
	}
	for r := multipart.NewReader(body, params["boundary"]); ; {
		p, err := r.NextPart()
		if err != nil {
			return texts
		}
		if p.Header.Get("Content-Disposition") == "" {
			texts += readParts(t, p.Header.Get("Content-Type"), p, files)
			continue
		}
		b, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, p))
		if err != nil {
			t.Fatal(err)
		}
		name, _ := new(mime.WordDecoder).DecodeHeader(p.FileName())
		files[name] = b
	}
}

func TestMailFailures(t *testing.T) {
	for name, c := range map[string]struct {
		mode, scheme, password string
		outcome                hostler.Outcome
		kind                   string
		final                  bool
	}{
		"wrong password": {"", "smtp", "wrong", hostler.OutcomeFailed, KindMail, true},
		"no STARTTLS":    {"plain", "smtp", "right", hostler.OutcomeFailed, "", false},
		"rejected":       {"reject", "smtp", "right", hostler.OutcomeFailed, KindMail, true},
		"full disk":      {"full", "smtp", "right", hostler.OutcomeFailed, KindMail, false},
		"lost":           {"lost", "smtp", "right", hostler.OutcomeUnknown, hostler.ErrKindConnLost, false},
		"endless":        {"endless", "smtp", "right", hostler.OutcomeFailed, "", false},
		"not TLS":        {"", "smtps", "right", hostler.OutcomeFailed, "", false},
	} {
		a := newSink(t, c.mode).send(t, c.scheme, c.password, nil)
		if a.Outcome != c.outcome || c.kind != "" && a.Kind() != c.kind || a.NoRetry != c.final || a.Error.Text.ZH == "" {
			t.Errorf("%s: %s, final %v", name, a, a.NoRetry)
		}
	}
	// A certificate of nobody's.
	s := newSink(t, "")
	s.ca = newSink(t, "").ca
	if a := s.send(t, "smtp", "right", nil); a.Outcome != hostler.OutcomeFailed || len(s.mails) != 0 {
		t.Errorf("a foreign certificate: %s", a)
	}
	// An address of this machine.
	a := actiontest.New(nil, map[string]any{
		"server": "smtp+plain://" + s.addr, "from": "a@b.c", "to": []string{"a@b.c"}, "subject": "x", "text": "x",
	})
	a.Run(t.Context(), Actions()[0]).MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindBadArgs)
	// An artefact that does not exist, and too many bytes.
	a = s.send(t, "smtp", "right", map[string]any{"attachments": []string{hostler.ArtefactID(9).String()}})
	a.MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindArtefact)
	s.send(t, "smtp", "right", nil, make([]byte, maxAttached+1)).MustEnd(t, hostler.OutcomeFailed, hostler.ErrKindBadArgs)
}

func TestMailIsStopped(t *testing.T) {
	s := newSink(t, "silent")
	ctx, cancel := context.WithCancelCause(t.Context())
	a := actiontest.New(nil, map[string]any{
		"server": "smtp+plain://" + s.addr, "from": "a@b.c", "to": []string{"a@b.c"}, "subject": "x", "text": "x",
	})
	a.Start(ctx, Actions(loopback)[0])
	cancel(action.ErrCancelled)
	a.Wait(t).MustEnd(t, hostler.OutcomeCancelled, hostler.ErrKindCancelled)
}

func TestMailArgs(t *testing.T) {
	r, err := action.NewRegistry(Actions()...)
	if err != nil {
		t.Fatal(err)
	}
	for path, more := range map[string]string{
		"server":      `"server":"smtp://u:p@h"`,
		"credential":  `"server":"smtp+plain://h","credential":"x"`,
		"from":        `"server":"smtp://h","from":"nobody"`,
		"to[0]":       `"server":"smtp://h","to":["a@b.c, d@e.f"]`,
		"subject":     `"server":"smtp://h","subject":"a\r\nBcc: x@y.z"`,
		"attachments": `"server":"smtp://h","attachments":["x"]`,
	} {
		args := map[string]string{"from": `"a@b.c"`, "to": `["a@b.c"]`, "subject": `"x"`, "text": `"x"`}
		raw := "{" + more
		for name, v := range args {
			if !strings.Contains(more, `"`+name+`":`) {
				raw += `,"` + name + `":` + v
			}
		}
		err := r.Validate("email", []byte(raw+"}"))
		if hostler.CodeOf(err) != hostler.CodeInvalid || !strings.Contains(err.Error(), "args."+path) {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
