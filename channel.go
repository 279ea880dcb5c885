package hostler

import "time"

// ChannelKind is a service that shows messages to people.
type ChannelKind string

// The kinds of channel.
const (
	ChannelDingTalk ChannelKind = "dingtalk"
	ChannelFeishu   ChannelKind = "feishu"
	ChannelWeCom    ChannelKind = "wecom"
	ChannelSlack    ChannelKind = "slack"
	ChannelTeams    ChannelKind = "teams"
	ChannelMail     ChannelKind = "mail"
	// ChannelWebhook is any other receiver: the message as JSON, signed as by Standard
	// Webhooks.
	ChannelWebhook ChannelKind = "webhook"
)

// ChannelKinds lists the kinds.
func ChannelKinds() []ChannelKind {
	return []ChannelKind{
		ChannelDingTalk, ChannelFeishu, ChannelWeCom, ChannelSlack, ChannelTeams, ChannelMail, ChannelWebhook,
	}
}

// DefaultChannelEvents are the events of a channel for which none are given: those that
// a person should look at.
func DefaultChannelEvents() []string {
	return []string{
		string(EventJobFailed), string(EventJobUnknown), string(EventRunFailed), string(EventRunWaiting),
		string(EventApprovalRequested), string(EventAlertFiring), string(EventAlertResolved),
	}
}

// Channel is a way to notify people of a project: a chat, or mail. Events that match are
// sent to it as text, and steps of runs name it. Its secret, and the parts of its URL
// that may be secret, are write-only.
type Channel struct {
	ID      ChannelID     `json:"id"`
	Project string        `json:"project"`
	Name    string        `json:"name"`
	Kind    ChannelKind   `json:"kind"`
	URL     string        `json:"url" doc:"without the parts that may be secret; smtp://host:port of a mail server"`
	From    string        `json:"from,omitempty" doc:"mail: address of the sender"`
	To      []string      `json:"to,omitempty" doc:"mail: addresses of the recipients"`
	Events  []string      `json:"events" doc:"types of event or patterns; empty: only messages of runs"`
	Filter  WebhookFilter `json:"filter,omitzero"`
	Lang    Lang          `json:"lang" doc:"of the texts"`
	Title   string        `json:"title" doc:"template of the title; empty: that of the language"`
	Text    string        `json:"text" doc:"template of the text; empty: that of the language"`
	Secret  bool          `json:"secret" doc:"a secret is set: the one that signs, or the password of the mail server"`
	Rate    int           `json:"rate" doc:"messages per minute at most; what exceeds it is merged into one message"`
	Enabled bool          `json:"enabled"`
	Reason  *Text         `json:"reason,omitempty" doc:"why Hostler disabled it"`
	Counts  WebhookCounts `json:"counts"`
	Created time.Time     `json:"created_at"`
	Updated time.Time     `json:"updated_at"`
}

// ChannelInput is a channel to create, or to put in place of an existing one. In a
// replacement, an omitted secret is retained as long as the URL has the same scheme,
// host and port.
type ChannelInput struct {
	Name    string         `json:"name" minLength:"1" maxLength:"127"`
	Kind    ChannelKind    `json:"kind,omitempty" enum:"dingtalk,feishu,wecom,slack,teams,mail,webhook" doc:"required for a new channel; it cannot be changed"`
	URL     string         `json:"url,omitempty" maxLength:"2048" writeOnly:"true" doc:"of the chat bot; smtp://user@host:587 (STARTTLS), smtps://user@host:465 or smtp+plain://host:25 for mail. A replacement retains it when it is omitted or given as shown"`
	Secret  *string        `json:"secret,omitempty" maxLength:"512" writeOnly:"true" doc:"signs the messages (dingtalk, feishu, webhook), or is the password of the mail server"`
	From    string         `json:"from,omitempty" maxLength:"320" doc:"mail: address of the sender"`
	To      []string       `json:"to,omitempty" maxItems:"50" doc:"mail: addresses of the recipients"`
	Events  []string       `json:"events,omitzero" maxItems:"100" doc:"types of event or patterns; default: job.failed, job.unknown, run.failed, run.waiting, approval.requested, alert.firing and alert.resolved; empty: only messages of runs"`
	Filter  *WebhookFilter `json:"filter,omitempty"`
	Lang    Lang           `json:"lang,omitempty" enum:"en,zh" doc:"of the texts; default: the caller's"`
	Title   string         `json:"title,omitempty" maxLength:"500" doc:"template of the title, with look-ups such as ${{ job.action }}"`
	Text    string         `json:"text,omitempty" maxLength:"4000" doc:"template of the text; a line whose look-ups are all empty is left out"`
	Rate    int            `json:"rate,omitempty" minimum:"0" maximum:"600" doc:"messages per minute at most; default: 20, or 60 for slack, teams and webhook"`
	Enabled *bool          `json:"enabled,omitempty" doc:"default: true, or unchanged in a replacement"`
}

// String hides the secret parts.
func (in ChannelInput) String() string { return in.Name + " (secret)" }

// GoString hides the secret parts from %#v.
func (in ChannelInput) GoString() string { return in.String() }

// Input returns the replacement that leaves the channel as it is, the base of a change.
func (c Channel) Input() ChannelInput {
	return ChannelInput{
		Name: c.Name, Kind: c.Kind, From: c.From, To: c.To, Events: c.Events, Filter: &c.Filter, Lang: c.Lang,
		Title: c.Title, Text: c.Text, Rate: c.Rate,
	}
}

// ChannelPreview asks how a message of a channel looks. Fields that are not given are
// those of the channel; the event is one with sample values.
type ChannelPreview struct {
	Event EventType `json:"event,omitempty" doc:"default: job.failed"`
	Lang  Lang      `json:"lang,omitempty" enum:"en,zh"`
	Title *string   `json:"title,omitempty" maxLength:"500"`
	Text  *string   `json:"text,omitempty" maxLength:"4000"`
	Count int       `json:"count,omitempty" minimum:"0" maximum:"1000" doc:"events that are merged into the message"`
}

// ChannelMessage is a message as a channel sends it.
type ChannelMessage struct {
	Title string `json:"title"`
	Text  string `json:"text"`
	Body  string `json:"body" doc:"of the request, without the signature; the text of a mail"`
}
