// Package channel holds the rules of notification channels: what a message looks like in
// each kind of chat, how it is signed, and what the answers of a chat mean.
//
// # Model
//
//	values     what an event has to show: job.action, job.error, … ([Values])
//	template   title and text with look-ups, ${{ job.action }} ([Template])
//	message    title and text, with the values escaped for the kind ([Message])
//	body       the message as the kind's API expects it ([Kind.Body])
//	refusal    what an answer says, also inside an HTTP 200 ([Kind.Refusal])
//
// # Invariants
//
//   - A template looks values up and computes nothing; see [Template].
//   - A value makes no link, no format and no mention in any chat: what the kind would
//     read as markup is escaped. The literal text of a template is that of an admin, and
//     stays as it is.
//   - A value is one line, without invisible characters. The text of a step of a run
//     (${{ text }}) may have several.
//   - Nothing here connects to anything.
package channel

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"hostler.dev/hostler"
)

// Message is a message for people, escaped for the kind that shows it. Text has a line
// for each fact.
type Message struct {
	Title string
	Text  string
	// Values are those of the event, for a receiver that reads JSON.
	Values Values
}

// Kind describes how one kind of channel is spoken to.
type Kind struct {
	// Rate is the default limit of messages per minute.
	Rate int
	// Signed reports that a secret signs its messages.
	Signed bool

	maxText int // bytes
	escape  *strings.Replacer
	body    func(m Message) any
	refusal func(status int, body []byte) *Refusal
}

// kinds are the services, with the limits that they document.
var kinds = map[hostler.ChannelKind]Kind{
	// 20 messages per minute, else none for 10 minutes.
	// https://open.dingtalk.com/document/robots/custom-robot-access
	hostler.ChannelDingTalk: {20, true, 16_000, markdown, dingTalkBody, codes("errcode", "errmsg", dingTalkErrors)},
	// 100 messages per minute, 5 per second; a body of at most 20 KB.
	// https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot
	hostler.ChannelFeishu: {20, true, 10_000, markdown, feishuBody, codes("code", "msg", feishuErrors)},
	// 20 messages per minute; markdown of at most 4,096 bytes.
	// https://developer.work.weixin.qq.com/document/path/91770
	hostler.ChannelWeCom: {20, false, 3500, markdown, weComBody, codes("errcode", "errmsg", weComErrors)},
	// 1 message per second. https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
	hostler.ChannelSlack: {60, false, 12_000, slackText, slackBody, slackRefusal},
	// A message of at most 28 KB.
	// https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using
	hostler.ChannelTeams:   {60, false, 8000, tags, teamsBody, teamsRefusal},
	hostler.ChannelMail:    {20, true, 64_000, nil, mailBody, nil},
	hostler.ChannelWebhook: {60, true, 64_000, nil, webhookBody, webhookRefusal},
}

// Of returns a kind; ok is false for what is none.
func Of(k hostler.ChannelKind) (kind Kind, ok bool) {
	kind, ok = kinds[k]
	return kind, ok
}

// maxTitle bounds a title, in characters: the subject of a mail is one line.
const maxTitle = 200

// Body returns the body of the request that sends a message. That of a mail is its text.
func (k Kind) Body(m Message) (string, error) {
	if k.body == nil {
		return "", errors.New("the kind of the channel is not known")
	}
	m.Title, m.Text = truncate(line(m.Title), maxTitle), truncate(m.Text, k.maxText)
	body := k.body(m)
	if text, plain := body.(string); plain {
		return text, nil
	}
	b, err := json.Marshal(body)
	if err != nil {
		return "", fmt.Errorf("encode a message: %w", err)
	}
	return string(b), nil
}

// Refusal returns why an answer with a status of HTTP is not an acceptance, in the words
// of the chat and with a remedy where there is one; nil when the message was accepted.
func (k Kind) Refusal(status int, body []byte) *Refusal {
	if k.refusal == nil {
		return nil
	}
	return k.refusal(status, body)
}

// Escape returns a value as one line that the kind shows as it is.
func (k Kind) Escape(value string) string {
	value = line(value)
	if k.escape == nil {
		return value
	}
	return k.escape.Replace(value)
}

// EscapeLines is Escape for a text of several lines.
func (k Kind) EscapeLines(text string) string {
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	for i := range lines {
		lines[i] = k.Escape(lines[i])
	}
	return strings.Join(lines, "\n")
}

// line returns a text as one line: white space of every kind becomes a space, and
// invisible characters, such as those that change the direction of writing, are removed.
func line(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		default:
			return r
		}
	}, s)
}

// truncate returns at most n bytes of a text, with " …" behind them when there was more.
func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + " …"
}

// What values may not contain, by the markup of the kinds. A character that looks the
// same replaces one that a chat gives no way to escape.
var (
	markdown = strings.NewReplacer(
		"<", "＜", ">", "＞", "[", "［", "]", "］", "@", "＠", "`", "'", "*", "＊", "&", "＆", "://", "：//",
	)
	tags      = strings.NewReplacer("<", "＜", ">", "＞", "@", "＠")
	slackText = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "@", "＠")
)

// dingTalkBody is a message in Markdown, where only an empty line ends a line. It
// mentions nobody, whatever its text has.
func dingTalkBody(m Message) any {
	text := "### " + m.Title + "\n\n" + strings.ReplaceAll(m.Text, "\n", "\n\n")
	return map[string]any{
		"msgtype":  "markdown",
		"markdown": map[string]string{"title": m.Title, "text": text},
		"at":       map[string]any{"isAtAll": false},
	}
}

func weComBody(m Message) any {
	return map[string]any{
		"msgtype": "markdown", "markdown": map[string]string{"content": "**" + m.Title + "**\n" + m.Text},
	}
}

func feishuBody(m Message) any {
	return map[string]any{"msg_type": "text", "content": map[string]string{"text": m.Title + "\n" + m.Text}}
}

// slackBody switches Slack's markup off: the text is shown as it is.
func slackBody(m Message) any {
	return map[string]any{
		"text": m.Title + "\n" + m.Text, "mrkdwn": false, "unfurl_links": false, "unfurl_media": false,
	}
}

// teamsBody is an adaptive card. Its lines are TextRuns, which have no markup
// (https://adaptivecards.io/explorer/TextRun.html), and nothing in it names an entity
// that would be mentioned.
func teamsBody(m Message) any {
	type object = map[string]any
	paragraph := func(run object) object {
		run["type"] = "TextRun"
		return object{"type": "RichTextBlock", "inlines": []object{run}}
	}
	body := []object{paragraph(object{"text": m.Title, "weight": "bolder", "size": "medium"})}
	for l := range strings.SplitSeq(m.Text, "\n") {
		if l != "" {
			body = append(body, paragraph(object{"text": l}))
		}
	}
	return object{"type": "message", "attachments": []object{{
		"contentType": "application/vnd.microsoft.card.adaptive",
		"content": object{
			"$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
			"type":    "AdaptiveCard", "version": "1.4", "body": body, "msteams": object{"width": "Full"},
		},
	}}}
}

// mailBody is the first line of a mail as its subject, and an empty line before its text.
func mailBody(m Message) any { return m.Title + "\n\n" + m.Text + "\n" }

// Mail returns subject and text of the body of a mail.
func Mail(body string) (subject, text string) {
	subject, text, _ = strings.Cut(body, "\n\n")
	return line(subject), text
}

func webhookBody(m Message) any {
	return map[string]any{"title": m.Title, "text": m.Text, "values": m.Values}
}
