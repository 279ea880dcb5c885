// Package mailer sends mails over SMTP.
//
// # Model
//
// A [Server] is a mail server by its URL: smtp:// needs STARTTLS, smtps:// is TLS from the
// first byte, smtp+plain:// is without both and gets no password. One call sends one message
// over one connection. [Explain] puts an error into words, with a remedy.
//
// # Invariants
//
//   - TLSForSecrets: a password is sent over TLS only, to a server with a valid certificate.
//   - Bounded: a server can neither send without end nor hold a call beyond its context.
package mailer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/textproto"
	"net/url"
	"strconv"
	"time"

	"github.com/wneessen/go-mail"

	"hostler.dev/hostler"
)

// maxAnswers bounds the bytes that a mail server may send in one connection: its answers are
// lines of any length.
const maxAnswers = 256 << 10

// ports are the default ports of the schemes (RFC 6409, RFC 8314).
var ports = map[string]int{"smtp": 587, "smtps": 465, "smtp+plain": 25}

// Schemes lists the schemes of the URL of a server.
func Schemes() []string { return []string{"smtp", "smtps", "smtp+plain"} }

// Server is a mail server.
type Server struct {
	URL      *url.URL
	Username string // "" does not log in
	Password string
	RootCAs  *x509.CertPool // nil: those of the system
	// Dial connects; it decides which addresses may be reached.
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	Timeout time.Duration // of each command
}

// Port is the port of the server.
func (s Server) Port() int {
	if p, err := strconv.Atoi(s.URL.Port()); err == nil {
		return p
	}
	return ports[s.URL.Scheme]
}

// Send sends a message. The context needs a deadline. Explain explains the error.
func (s Server) Send(ctx context.Context, msg *mail.Msg) error {
	dial := &dialer{server: s, tls: &tls.Config{ServerName: s.URL.Hostname(), MinVersion: tls.VersionTLS12, RootCAs: s.RootCAs}}
	client, err := mail.NewClient(s.URL.Hostname(), s.options(dial)...)
	if err != nil {
		return err
	}
	defer dial.close()
	session, err := client.DialToSMTPClientWithContext(ctx)
	if err == nil {
		err = client.SendWithSMTPClient(session, msg)
	}
	return err
}

func (s Server) options(d *dialer) []mail.Option {
	policy := mail.TLSMandatory
	if s.URL.Scheme != "smtp" {
		policy = mail.NoTLS // none, or around the whole connection
	}
	options := []mail.Option{
		mail.WithPort(s.Port()), mail.WithTLSPolicy(policy), mail.WithTLSConfig(d.tls),
		mail.WithDialContextFunc(d.dial), mail.WithTimeout(s.Timeout), mail.WithoutNoop(),
	}
	if s.Password != "" && s.Username != "" && s.URL.Scheme != "smtp+plain" {
		options = append(options, mail.WithUsername(s.Username), mail.WithPassword(s.Password),
			mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover))
	}
	return options
}

// NewMessage returns a message from an address to some others, with an id that stays the
// same when it is sent again, so that a mail server can recognize it.
func NewMessage(id, subject, from string, to ...string) (*mail.Msg, error) {
	msg := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := errors.Join(msg.From(from), msg.To(to...)); err != nil {
		return nil, err
	}
	msg.Subject(subject)
	msg.SetDate()
	msg.SetMessageIDWithValue(id + "@hostler")
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no automatic replies
	return msg, nil
}

// dialer connects, and remembers the connection.
type dialer struct {
	server Server
	tls    *tls.Config
	conn   net.Conn
}

func (d *dialer) dial(ctx context.Context, _, address string) (net.Conn, error) {
	conn, err := d.server.Dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	d.conn = conn
	deadline, _ := ctx.Deadline()
	conn = &boundedConn{Conn: conn, left: maxAnswers, deadline: deadline}
	if d.server.URL.Scheme != "smtps" {
		return conn, conn.SetDeadline(deadline)
	}
	secure := tls.Client(conn, d.tls)
	return secure, secure.HandshakeContext(ctx)
}

// close ends the connection. The message was accepted or refused by then, and an error
// of QUIT would not change that.
func (d *dialer) close() {
	if d.conn != nil {
		_ = d.conn.Close()
	}
}

// boundedConn is a connection that may read so many bytes, until a deadline that nobody
// extends.
type boundedConn struct {
	net.Conn
	left     int
	deadline time.Time
}

var errLongAnswer = errors.New("the mail server sent too much")

func (c *boundedConn) Read(b []byte) (int, error) {
	if c.left <= 0 {
		return 0, errLongAnswer
	}
	n, err := c.Conn.Read(b[:min(len(b), c.left)])
	c.left -= n
	return n, err
}

func (c *boundedConn) SetDeadline(t time.Time) error {
	if t.IsZero() || t.After(c.deadline) {
		t = c.deadline
	}
	return c.Conn.SetDeadline(t)
}

// Explain returns what went wrong, with a remedy, and the code of the server's answer, 0 for
// none. ok is false for errors of the connection, which are those of any other service.
func Explain(ctx context.Context, err error) (code int, text hostler.Text, ok bool) {
	var certificate *tls.CertificateVerificationError
	if reply, is := errors.AsType[*textproto.Error](err); is {
		code = reply.Code
	} else if send, is := errors.AsType[*mail.SendError](err); is {
		code = send.ErrorCode()
	}
	switch {
	case errors.Is(err, errLongAnswer):
		text = hostler.Textf("the mail server sent too much; check the URL", "邮件服务器返回的数据过多；请检查 URL")
	case errors.As(err, &certificate):
		text = hostler.Textf("the certificate of the mail server is not valid: %v", "邮件服务器的证书无效：%v", certificate.Err)
	case code != 0:
		r := remedy(code)
		text = hostler.Textf("the mail server refused the message: %[1]v; %[2]s", "邮件服务器拒绝了邮件：%[1]v；%[3]s", err, r.EN, r.ZH)
	case isEOF(err):
		text = hostler.Textf("the mail server closed the connection; check the port and the scheme of the URL",
			"邮件服务器关闭了连接；请检查 URL 的端口与协议")
	case ctx.Err() != nil || isTimeout(err):
		text = hostler.Textf("timed out: no response from the mail server", "超时：邮件服务器未响应")
	default:
		return 0, text, false
	}
	return code, text, true
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// remedy returns what to do about a code of SMTP (RFC 5321 §4.2.3, RFC 4954 §6).
func remedy(code int) hostler.Text {
	switch {
	case code == 530 || code == 534 || code == 535 || code == 538:
		return hostler.Text{EN: "check the user in the URL and the secret", ZH: "请检查 URL 中的用户与密码"}
	case code == 550 || code == 551 || code == 553:
		return hostler.Text{EN: "check the addresses from and to", ZH: "请检查发件人与收件人地址"}
	case code == 554 || code == 552:
		return hostler.Text{EN: "ask the admin of the mail server", ZH: "请联系邮件服务器管理员"}
	case code/100 == 4:
		return hostler.Text{EN: "Hostler tries again", ZH: "稍后自动重试"}
	default:
		return hostler.Text{EN: "check the channel", ZH: "请检查渠道配置"}
	}
}
