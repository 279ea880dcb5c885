// Package mail has the action that sends a mail.
//
// # Model
//
// The message is built from the args and streamed to the mail server by internal/mailer; the
// content of artefacts is read while it is sent, and never as a whole in memory.
//
// # Invariants
//
//   - EgressChecked: the connection goes to an address that the egress policy allows.
//   - UnknownWhenSent: a connection that broke after the content was sent ends as unknown.
//     The id of the message is that of the job in every attempt.
package mail

import (
	"cmp"
	"context"
	"crypto/x509"
	_ "embed" // the schema
	"encoding/json"
	"errors"
	"io"
	netmail "net/mail"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/wneessen/go-mail"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/destination"
	"hostler.dev/hostler/internal/egress"
	"hostler.dev/hostler/internal/mailer"
)

//go:embed email.json
var schema []byte

const (
	maxAttached    = 25 << 20
	commandTimeout = time.Minute
	// sendTimeout limits an attempt whose job has no deadline.
	sendTimeout = 10 * time.Minute
)

// KindMail is the kind of error of a mail that the server refused.
const KindMail = "mail_refused"

// Actions lists the actions of the family. The ranges may be reached although internal/egress
// denies them.
func Actions(allow ...netip.Prefix) []action.Action {
	policy := egress.New(allow...)
	return []action.Action{{
		Name:  "email",
		Title: hostler.Text{EN: "Mail", ZH: "邮件"},
		Help: hostler.Text{
			EN: "Sends a mail over SMTP from the worker: text, HTML, or both, with artefacts as attachments.",
			ZH: "从工作节点通过 SMTP 发送邮件：文本、HTML 或两者，可将产物作为附件。",
		},
		Schema:      schema,
		Asset:       action.AssetOptional,
		Traits:      func(json.RawMessage) action.Traits { return action.Traits{} },
		Check:       checkArgs,
		Credentials: credentials,
		Elsewhere:   func(json.RawMessage) bool { return true },
		Enabled:     true,
		Run:         func(ctx context.Context, c *action.Call) action.Result { return run(ctx, c, policy) },
	}}
}

type args struct {
	Server      string   `json:"server"`
	Credential  string   `json:"credential"`
	From        string   `json:"from"`
	To          []string `json:"to"`
	CC          []string `json:"cc"`
	Subject     string   `json:"subject"`
	Text        string   `json:"text"`
	HTML        string   `json:"html"`
	Attachments []string `json:"attachments"`
	CA          string   `json:"ca"`
}

// Sent is the result of email.
type Sent struct {
	MessageID   string `json:"message_id"`
	Recipients  int    `json:"recipients"`
	Attachments int    `json:"attachments"`
	Status      int    `json:"status,omitempty"` // the server's answer to a mail that it refused
}

func checkArgs(raw json.RawMessage) []hostler.FieldError {
	var a args
	if faults := action.Decode(raw, &a); faults != nil {
		return faults
	}
	var f check.Fields
	u, err := url.Parse(a.Server)
	port := 1
	if err == nil && u.Port() != "" {
		port, err = strconv.Atoi(u.Port())
	}
	f.Require(err == nil && u.Hostname() != "" && port > 0 && port < 1<<16, "server", "must be like smtp://mail.example.com:587",
		"必须形如 smtp://mail.example.com:587")
	f.Require(err != nil || a.Credential == "" || u.Scheme != "smtp+plain", "credential", "is not sent without encryption: use smtp or smtps",
		"不加密时不发送凭据：请使用 smtp 或 smtps")
	address := func(path, s string) {
		_, err := netmail.ParseAddress(s)
		f.Require(err == nil, path, "must be a mail address", "必须是邮件地址")
	}
	address("from", a.From)
	for i, s := range a.To {
		address(check.Item("to", i), s)
	}
	for i, s := range a.CC {
		address(check.Item("cc", i), s)
	}
	f.Require(a.CA == "" || x509.NewCertPool().AppendCertsFromPEM([]byte(a.CA)), "ca", "must contain a certificate in PEM form",
		"必须包含 PEM 格式的证书")
	return f.Faults()
}

func credentials(raw json.RawMessage) []action.CredentialUse {
	var a args
	if json.Unmarshal(raw, &a) != nil || a.Credential == "" {
		return nil
	}
	use := action.CredentialUse{Name: a.Credential, Use: hostler.UseHTTP}
	if u, err := url.Parse(a.Server); err == nil {
		use.Origin = destination.Origin(u)
	}
	return []action.CredentialUse{use}
}

func run(ctx context.Context, c *action.Call, policy *egress.Policy) action.Result {
	var a args
	if faults := action.Decode(c.Args, &a); faults != nil {
		return action.NewFault(hostler.ErrKindBadArgs, "%[1]s", "%[2]s", faults[0].Text.EN, faults[0].Text.ZH).Final().Result()
	}
	u, err := url.Parse(a.Server)
	if err != nil {
		return action.ResultOf(err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, sendTimeout, action.ErrTimeout)
	defer cancel()
	server := mailer.Server{URL: u, Timeout: commandTimeout, Dial: policy.Dialer(nil).DialContext}
	if a.CA != "" {
		server.RootCAs = x509.NewCertPool()
		server.RootCAs.AppendCertsFromPEM([]byte(a.CA))
	}
	if a.Credential != "" {
		cred, ok := c.Credentials[a.Credential]
		if !ok || cred.Kind != hostler.CredentialPassword || cred.Username == "" {
			return action.NewFault(hostler.ErrKindCredential, "the credential %q is missing, or is not a user and password",
				"凭据 %q 不存在，或不是用户名密码", a.Credential).Final().Result()
		}
		server.Username, server.Password = cred.Username, cred.Secret.Password
	}
	out := Sent{Recipients: len(a.To) + len(a.CC), Attachments: len(a.Attachments)}
	msg, files, err := build(ctx, c, a)
	if err != nil {
		return action.ResultOf(err)
	}
	defer files.close()
	out.MessageID = msg.GetMessageID()
	if err := server.Send(ctx, msg); err != nil {
		return explain(ctx, out, cmp.Or(files.err, err))
	}
	return action.Succeeded(out)
}

// build builds the message, with files that are opened as they are sent.
func build(ctx context.Context, c *action.Call, a args) (*mail.Msg, *attachments, error) {
	msg, err := mailer.NewMessage(c.Job.String(), a.Subject, a.From, a.To...)
	if err == nil && len(a.CC) > 0 {
		err = msg.Cc(a.CC...)
	}
	if err != nil {
		return nil, nil, action.NewFault(hostler.ErrKindBadArgs, "an address is not valid", "邮件地址无效").Final().Because(err)
	}
	switch {
	case a.Text != "" && a.HTML != "":
		msg.SetBodyString(mail.TypeTextPlain, a.Text)
		msg.AddAlternativeString(mail.TypeTextHTML, a.HTML)
	case a.HTML != "":
		msg.SetBodyString(mail.TypeTextHTML, a.HTML)
	default:
		msg.SetBodyString(mail.TypeTextPlain, a.Text)
	}
	files := &attachments{}
	total := int64(0)
	for _, id := range a.Attachments {
		art, r, err := c.OpenArtefact(ctx, id) // a missing one is found before anything is sent
		if err != nil {
			return nil, files, err
		}
		_ = r.Close()
		if total += art.Size; total > maxAttached {
			return nil, files, action.NewFault(hostler.ErrKindBadArgs, "the attachments have more than %d MiB together",
				"附件合计超过 %d MiB", maxAttached>>20).Final()
		}
		f := &attachment{open: func() (io.ReadCloser, error) {
			_, r, err := c.OpenArtefact(ctx, id)
			return r, err
		}, all: files}
		files.list = append(files.list, f)
		msg.AttachReadSeeker(art.Name, f, mail.WithFileContentType(mail.ContentType(cmp.Or(art.MediaType, "application/octet-stream"))))
	}
	return msg, files, nil
}

// attachments are the files of a message.
type attachments struct {
	list []*attachment
	err  error // why one could not be read
}

func (a *attachments) close() {
	for _, f := range a.list {
		_, _ = f.Seek(0, io.SeekStart)
	}
}

// attachment reads an artefact, and opens it when that begins. It can be read again.
type attachment struct {
	open func() (io.ReadCloser, error)
	r    io.ReadCloser
	all  *attachments
}

// Read implements io.Reader.
func (f *attachment) Read(p []byte) (n int, err error) {
	if f.r == nil {
		f.r, err = f.open()
	}
	if err == nil {
		n, err = f.r.Read(p)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		f.all.err = err
	}
	return n, err
}

// Seek implements io.Seeker, for the start of the file.
func (f *attachment) Seek(int64, int) (int64, error) {
	if f.r != nil {
		_ = f.r.Close()
		f.r = nil
	}
	return 0, nil
}

// explain returns the result of a mail that the server did not accept.
func explain(ctx context.Context, out Sent, err error) action.Result {
	if f, ok := errors.AsType[*action.Fault](err); ok {
		return f.Result()
	}
	if d, ok := errors.AsType[*egress.Denied](err); ok {
		return action.NewFault(hostler.ErrKindBadArgs, "%[1]s", "%[2]s", d.Text().EN, d.Text().ZH).Final().Result()
	}
	code, text, ok := mailer.Explain(ctx, err)
	out.Status = code
	// The answer to the content is missing: the server may have accepted it.
	send, _ := errors.AsType[*mail.SendError](err)
	if code == 0 && send != nil && (send.Reason == mail.ErrSMTPDataClose || send.Reason == mail.ErrWriteContent) {
		return action.Unknown(out, hostler.ErrKindConnLost, "the connection broke while the mail was sent; it may have arrived",
			"发送邮件时连接中断；邮件可能已送达")
	}
	switch {
	case ctx.Err() != nil && !action.TimedOut(ctx):
		return action.StoppedFault(ctx, "before the mail was sent", "邮件发送前").Result()
	case !ok:
		f := action.NewFault(hostler.ErrKindUnreachable, "the mail server cannot be reached", "无法连接邮件服务器").Because(err)
		if s := action.ShortageFault(err); s != nil {
			f = s
		}
		return f.Result()
	case code == 0:
		return action.Failed(out, hostler.ErrKindConnTimeout, "%[1]s", "%[2]s", text.EN, text.ZH)
	}
	res := action.Failed(out, KindMail, "%[1]s", "%[2]s", text.EN, text.ZH)
	res.NoRetry = code >= 500
	return res
}
