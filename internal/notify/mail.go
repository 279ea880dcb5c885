package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/textproto"
	"net/url"
	"strconv"
	"time"

	"github.com/wneessen/go-mail"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/channel"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/webhook"
)

// maxMailAnswers bounds the bytes that a mail server may send in one connection: its
// answers are lines of any length.
const maxMailAnswers = 256 << 10

// mailPorts are the default ports of the schemes (RFC 6409, RFC 8314).
var mailPorts = map[string]int{"smtp": 587, "smtps": 465, "smtp+plain": 25}

// sendMail sends a message to the recipients of a channel, in one connection. A password
// is sent over TLS only, and the certificate of the server must be valid.
func (n *Notifier) sendMail(
	ctx context.Context, w *store.WebhookRow, id hostler.DeliveryID, s webhook.Secrets, body string,
) result {
	u, err := url.Parse(s.URL)
	if err != nil {
		return failed("the URL of the mail server is not valid", "邮件服务器的 URL 无效")
	}
	msg, err := newMail(w.Channel, id, body)
	if err != nil {
		return failed("an address of the channel is not valid: correct from and to", "渠道的邮件地址无效：请更正 from 与 to")
	}
	dial := &mailDialer{n: n, secure: u.Scheme == "smtps", tls: &tls.Config{
		ServerName: u.Hostname(), MinVersion: tls.VersionTLS12, RootCAs: n.cfg.RootCAs,
	}}
	client, err := mail.NewClient(u.Hostname(), mailOptions(u, s, dial, n.cfg.Timeout)...)
	if err != nil {
		return failed("the channel of the mail server is not valid: correct its URL", "邮件渠道无效：请更正其 URL")
	}
	defer dial.close()
	session, err := client.DialToSMTPClientWithContext(ctx)
	if err == nil {
		err = client.SendWithSMTPClient(session, msg)
	}
	if err == nil {
		return result{status: 250}
	}
	return mailError(ctx, err)
}

func mailOptions(u *url.URL, s webhook.Secrets, dial *mailDialer, timeout time.Duration) []mail.Option {
	port := mailPorts[u.Scheme]
	if p, err := strconv.Atoi(u.Port()); err == nil {
		port = p
	}
	policy := mail.TLSMandatory
	if u.Scheme != "smtp" {
		policy = mail.NoTLS // none, or around the whole connection
	}
	options := []mail.Option{
		mail.WithPort(port), mail.WithTLSPolicy(policy), mail.WithTLSConfig(dial.tls),
		mail.WithDialContextFunc(dial.dial), mail.WithTimeout(timeout), mail.WithoutNoop(),
	}
	if len(s.Signing) > 0 && u.User != nil && u.Scheme != "smtp+plain" {
		options = append(options, mail.WithUsername(u.User.Username()), mail.WithPassword(s.Signing[0].Secret),
			mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover))
	}
	return options
}

// newMail builds a mail. Its id is that of the delivery in every try, so that a mail
// server can recognize a message that it already has.
func newMail(c *store.ChannelSpec, id hostler.DeliveryID, body string) (*mail.Msg, error) {
	msg := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := errors.Join(msg.From(c.From), msg.To(c.To...)); err != nil {
		return nil, err
	}
	subject, text := channel.Mail(body)
	msg.Subject(subject)
	msg.SetDate()
	msg.SetMessageIDWithValue(id.String() + "@hostler")
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no automatic replies
	msg.SetBodyString(mail.TypeTextPlain, text)
	return msg, nil
}

// mailDialer connects as the egress policy allows.
type mailDialer struct {
	n      *Notifier
	tls    *tls.Config
	secure bool // TLS from the first byte
	conn   net.Conn
}

func (d *mailDialer) dial(ctx context.Context, _, address string) (net.Conn, error) {
	conn, err := d.n.cfg.Egress.Dialer(d.n.cfg.Resolver).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	d.conn = conn
	deadline, _ := ctx.Deadline()
	conn = &boundedConn{Conn: conn, left: maxMailAnswers, deadline: deadline}
	if !d.secure {
		return conn, conn.SetDeadline(deadline)
	}
	secure := tls.Client(conn, d.tls)
	return secure, secure.HandshakeContext(ctx)
}

// close ends the connection. The message was accepted or refused by then, and an error
// of QUIT would not change that.
func (d *mailDialer) close() {
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

// mailError returns the result of a mail that was not accepted, in the words of the mail
// server and with a remedy.
func mailError(ctx context.Context, err error) (res result) {
	var certificate *tls.CertificateVerificationError
	code := 0
	if reply, ok := errors.AsType[*textproto.Error](err); ok {
		code = reply.Code
	} else if send, ok := errors.AsType[*mail.SendError](err); ok {
		code = send.ErrorCode()
	}
	switch {
	case errors.Is(err, errLongAnswer):
		res.fail("the mail server sent too much; check the URL", "邮件服务器返回的数据过多；请检查 URL")
	case errors.As(err, &certificate):
		res.fail("the certificate of the mail server is not valid: %v", "邮件服务器的证书无效：%v", certificate.Err)
	case code != 0:
		res.status = code
		r := mailRemedy(code)
		res.fail("the mail server refused the message: %[1]v; %[2]s", "邮件服务器拒绝了邮件：%[1]v；%[3]s", err, r.EN, r.ZH)
	case isEOF(err):
		res.fail("the mail server closed the connection; check the port and the scheme of the URL",
			"邮件服务器关闭了连接；请检查 URL 的端口与协议")
	case ctx.Err() != nil || isTimeout(err):
		res.fail("timed out: no response from the mail server", "超时：邮件服务器未响应")
	default:
		res = sendError(err)
	}
	return res
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// mailRemedy returns what to do about a code of SMTP (RFC 5321 §4.2.3, RFC 4954 §6).
func mailRemedy(code int) hostler.Text {
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
