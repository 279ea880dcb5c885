package notify

import (
	"context"
	"net/url"

	"github.com/wneessen/go-mail"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/channel"
	"hostler.dev/hostler/internal/mailer"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/webhook"
)

// sendMail sends a message to the recipients of a channel, in one connection.
func (n *Notifier) sendMail(
	ctx context.Context, w *store.WebhookRow, id hostler.DeliveryID, s webhook.Secrets, body string,
) (res result) {
	u, err := url.Parse(s.URL)
	if err != nil {
		return failed("the URL of the mail server is not valid", "邮件服务器的 URL 无效")
	}
	subject, text := channel.Mail(body)
	msg, err := mailer.NewMessage(id.String(), subject, w.Channel.From, w.Channel.To...)
	if err != nil {
		return failed("an address of the channel is not valid: correct from and to", "渠道的邮件地址无效：请更正 from 与 to")
	}
	msg.SetBodyString(mail.TypeTextPlain, text)
	server := mailer.Server{
		URL: u, Username: u.User.Username(), RootCAs: n.cfg.RootCAs, Timeout: n.cfg.Timeout,
		Dial: n.cfg.Egress.Dialer(n.cfg.Resolver).DialContext,
	}
	if len(s.Signing) > 0 {
		server.Password = s.Signing[0].Secret
	}
	if err = server.Send(ctx, msg); err == nil {
		return result{status: 250}
	}
	code, why, ok := mailer.Explain(ctx, err)
	if !ok {
		return sendError(err)
	}
	res.status = code
	res.fail("%[1]s", "%[2]s", why.EN, why.ZH)
	return res
}
