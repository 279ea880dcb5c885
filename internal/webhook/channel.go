package webhook

import (
	"net/http"
	"net/mail"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// Limits of a channel.
const (
	MaxChannelRate = 600 // messages per minute
	maxRecipients  = 50
	maxAddress     = 320 // RFC 3696, erratum 1690, and a name before it
)

// ReplaceChannel returns the endpoint of a channel, over that of the channel it replaces:
// the zero one for a new channel. The rules are those of [Replace].
func ReplaceChannel(fields *check.Fields, in hostler.ChannelInput, old Endpoint) Endpoint {
	if in.URL == "" && old.URL == "" {
		return Endpoint{Secret: Of(hostler.WebhookInput{Secret: in.Secret}).Secret}
	}
	return Replace(fields, hostler.WebhookInput{URL: in.URL, Secret: in.Secret}, old)
}

// CheckChannel is Check for a channel of a kind.
func (e *Endpoint) CheckChannel(fields *check.Fields, kind hostler.ChannelKind) {
	e.Format, e.Method, e.Timeout = hostler.WebhookFormat(kind), http.MethodPost, maxTimeout
	if kind == hostler.ChannelMail {
		e.checkMail(fields)
		return
	}
	checkURL(fields, e.URL)
	switch kind {
	case hostler.ChannelWebhook:
		checkSecret(fields, hostler.FormatStandard, e.Secret)
	case hostler.ChannelDingTalk, hostler.ChannelFeishu:
		checkSecret(fields, e.Format, e.Secret)
	default:
		fields.Require(e.Secret == "", "secret", "is not supported by %s: its URL is the secret",
			"%s 不支持签名：其 URL 即为机密", kind)
	}
}

// checkMail checks the URL of a mail server, and that a password is sent with TLS only.
func (e *Endpoint) checkMail(fields *check.Fields) {
	u := checkURLOf(fields, e.URL, mailSchemes)
	if u == nil {
		return
	}
	_, password := u.User.Password()
	fields.Require(!password, "url", "must not have a password: give it as secret", "不能带有密码：请用 secret 提供")
	fields.Require(strings.Trim(u.Path, "/") == "" && u.RawQuery == "", "url",
		"must end with the host or the port", "主机或端口之后不能有其他内容")
	fields.Require(len(e.Secret) <= maxSecret && check.SingleLine(e.Secret), "secret",
		"must be one line of at most %d bytes", "须为单行，最多 %d 字节", maxSecret)
	if u.Scheme == "smtp+plain" {
		fields.Require(e.Secret == "" && u.User == nil, "secret",
			"is not sent without TLS: use smtp:// or smtps://, or remove user and secret",
			"不会在没有 TLS 的连接上发送：请使用 smtp:// 或 smtps://，或去除用户与密码")
		return
	}
	fields.Require((e.Secret == "") == (u.User == nil), "secret",
		"and a user in the URL (smtp://user@host:587) belong together: give both or none",
		"须与 URL 中的用户（smtp://user@host:587）同时提供，或都不提供")
}

// CheckMailAddresses checks sender and recipients. Only a channel of mail has them.
func CheckMailAddresses(fields *check.Fields, kind hostler.ChannelKind, from string, to []string) {
	if kind != hostler.ChannelMail {
		fields.Require(from == "", "from", "is for mail only", "仅用于邮件")
		fields.Require(len(to) == 0, "to", "is for mail only", "仅用于邮件")
		return
	}
	checkMailAddress(fields, "from", from)
	fields.Require(len(to) > 0, "to", "must have at least one address", "至少需要一个收件人")
	fields.Count("to", len(to), maxRecipients)
	for i := range to[:min(len(to), maxRecipients)] {
		checkMailAddress(fields, check.Item("to", i), to[i])
	}
}

func checkMailAddress(fields *check.Fields, path, s string) {
	_, err := mail.ParseAddress(s)
	fields.Require(err == nil && len(s) <= maxAddress && check.SingleLine(s), path,
		"must be an address of mail, such as ops@example.com", "须为邮件地址，例如 ops@example.com")
}
