package hostler

import "time"

// WebhookFormat is the form of the requests to a webhook.
type WebhookFormat string

// The formats.
const (
	// FormatStandard is an Event with its job, signed as by Standard Webhooks
	// (https://www.standardwebhooks.com).
	FormatStandard WebhookFormat = "standard"
	// FormatTask is the message of the simple task API: task_completed.
	FormatTask WebhookFormat = "task"
	// FormatNetPulse is the message of NetPulse when a job ends: id, status and result.
	FormatNetPulse WebhookFormat = "netpulse"
	// Chat bots have their own messages, signatures and error responses.
	FormatDingTalk WebhookFormat = "dingtalk"
	FormatWeCom    WebhookFormat = "wecom"
	FormatFeishu   WebhookFormat = "feishu"
)

// WebhookFormats lists the formats.
func WebhookFormats() []WebhookFormat {
	return []WebhookFormat{FormatStandard, FormatTask, FormatNetPulse, FormatDingTalk, FormatWeCom, FormatFeishu}
}

// OnlyEnds reports whether the format has a message only for the end of a job.
func (f WebhookFormat) OnlyEnds() bool { return f == FormatTask || f == FormatNetPulse }

// IsChatBot reports whether the format is that of a chat bot.
func (f WebhookFormat) IsChatBot() bool {
	return f == FormatDingTalk || f == FormatWeCom || f == FormatFeishu
}

// Webhook is a subscription of a URL to events. Its secret parts (the URL's query and
// user, the signing secret, the bearer token, header values) are write-only.
type Webhook struct {
	ID      WebhookID     `json:"id"`
	Project string        `json:"project"`
	Name    string        `json:"name"`
	URL     string        `json:"url" doc:"without the parts that may be secret"`
	Format  WebhookFormat `json:"format"`
	// Events are types, or patterns such as job.*; none means the ends of jobs.
	Events  []string      `json:"events"`
	Filter  WebhookFilter `json:"filter,omitzero"`
	Method  string        `json:"method"`
	Headers []string      `json:"headers,omitempty" doc:"names of the additional headers"`
	Signed  bool          `json:"signed" doc:"a signing secret is set"`
	Token   bool          `json:"token" doc:"a bearer token is set"`
	Lang    Lang          `json:"lang" doc:"of texts for people"`
	Timeout Duration      `json:"timeout" doc:"of one request; at most 10s"`
	Rate    int           `json:"rate" doc:"requests per minute at most; 0 means no limit"`
	Limit   int           `json:"limit" doc:"requests at once at most"`
	Enabled bool          `json:"enabled"`
	Reason  *Text         `json:"reason,omitempty" doc:"why Hostler disabled it"`
	Counts  WebhookCounts `json:"counts"`
	Created time.Time     `json:"created_at"`
	Updated time.Time     `json:"updated_at"`
}

// WebhookFilter narrows the events of jobs; an empty field matches all.
type WebhookFilter struct {
	Actions []string `json:"actions,omitempty" maxItems:"100"`
	Queues  []string `json:"queues,omitempty" maxItems:"100"`
	Assets  []string `json:"assets,omitempty" maxItems:"1000" doc:"names"`
}

// WebhookCounts counts the stored deliveries of a webhook by state.
type WebhookCounts struct {
	Pending   int `json:"pending"`
	Delivered int `json:"delivered"`
	Failed    int `json:"failed"`
}

// WebhookInput is a webhook to create, or to put in place of an existing one. In a
// replacement, an omitted secret part is retained as long as the URL has the same
// scheme, host and port; an empty one is removed. A secret is thereby never sent to a
// host for which it was not given.
type WebhookInput struct {
	Name    string            `json:"name" minLength:"1" maxLength:"128"`
	URL     string            `json:"url,omitempty" maxLength:"2048" writeOnly:"true" doc:"http or https; a replacement retains it when it is omitted or given as shown"`
	Format  WebhookFormat     `json:"format,omitempty" enum:"standard,task,netpulse,dingtalk,wecom,feishu" doc:"default: that of the chat service that the URL belongs to, else standard"`
	Events  []string          `json:"events,omitempty" maxItems:"100" doc:"types of event, or patterns such as job.*; default: the ends of jobs"`
	Filter  *WebhookFilter    `json:"filter,omitempty"`
	Method  string            `json:"method,omitempty" enum:"POST,PUT,PATCH,GET" doc:"default: POST"`
	Headers map[string]string `json:"headers,omitzero" writeOnly:"true" doc:"additional headers; their values are not shown again"`
	Token   *string           `json:"token,omitempty" maxLength:"4096" writeOnly:"true" doc:"sent as Authorization: Bearer"`
	Secret  *string           `json:"secret,omitempty" maxLength:"512" writeOnly:"true" doc:"signs the requests: whsec_ and base64, or the chat bot's own secret"`
	// GenerateSecret is for new webhooks; use a rotation for an existing one.
	GenerateSecret bool     `json:"generate_secret,omitempty" doc:"generate a signing secret for a new webhook, and show it once"`
	Lang           Lang     `json:"lang,omitempty" enum:"en,zh" doc:"of texts for people; default: the caller's"`
	Timeout        Duration `json:"timeout,omitempty" doc:"of one request; default and most 10s"`
	Rate           int      `json:"rate,omitempty" minimum:"0" maximum:"6000" doc:"requests per minute at most; 0 means no limit, or 20 for chat bots"`
	Limit          int      `json:"limit,omitempty" minimum:"0" maximum:"100" doc:"requests at once at most; default 4"`
	Enabled        *bool    `json:"enabled,omitempty" doc:"default: true, or unchanged in a replacement"`
}

// String hides the secret parts.
func (in WebhookInput) String() string { return in.Name + " (secret)" }

// GoString hides the secret parts from %#v.
func (in WebhookInput) GoString() string { return in.String() }

// WebhookCreated is a webhook with the signing secret that Hostler generated. No other
// answer contains the secret.
type WebhookCreated struct {
	Webhook Webhook `json:"webhook"`
	Secret  string  `json:"secret,omitempty" doc:"if Hostler generated it; not shown again"`
}

// String hides the secret.
func (w WebhookCreated) String() string { return w.Webhook.Name + " (secret)" }

// GoString hides the secret from %#v.
func (w WebhookCreated) GoString() string { return w.String() }

// WebhookRotation asks for a new signing secret.
type WebhookRotation struct {
	Secret  string    `json:"secret,omitempty" maxLength:"512" writeOnly:"true" doc:"default: generated"`
	Overlap *Duration `json:"overlap,omitempty" doc:"how long the old secret also signs; default 24h"`
}

// String hides the secret.
func (in WebhookRotation) String() string { return "rotation (secret)" }

// GoString hides the secret from %#v.
func (in WebhookRotation) GoString() string { return in.String() }

// JobWebhook is a request to be sent at the end of each job of one call, without a
// webhook. It is sealed with the job and deleted after its delivery.
type JobWebhook struct {
	URL     string            `json:"url" minLength:"1" maxLength:"2048" writeOnly:"true"`
	Method  string            `json:"method,omitempty" enum:"POST,PUT,PATCH,GET" doc:"default POST"`
	Headers map[string]string `json:"headers,omitempty" writeOnly:"true" doc:"sealed; not shown again"`
	Token   string            `json:"token,omitempty" maxLength:"4096" writeOnly:"true" doc:"sent as Authorization: Bearer; sealed"`
	Secret  string            `json:"secret,omitempty" maxLength:"512" writeOnly:"true" doc:"signs the requests; sealed"`
	Format  WebhookFormat     `json:"format,omitempty" enum:"standard,task,netpulse,dingtalk,wecom,feishu" doc:"default: by the URL"`
	Timeout Duration          `json:"timeout,omitempty" doc:"of one request; default and most 10s"`
}

// String hides the secret parts.
func (w JobWebhook) String() string { return MaskURL(w.URL) + " (secret)" }

// GoString hides the secret parts from %#v.
func (w JobWebhook) GoString() string { return w.String() }

// Input returns the replacement that leaves the webhook as it is, the base of a
// change. Its secret parts are nil, which keeps the stored ones.
func (w Webhook) Input() WebhookInput {
	return WebhookInput{
		Name: w.Name, Format: w.Format, Events: w.Events, Filter: &w.Filter, Method: w.Method,
		Lang: w.Lang, Timeout: w.Timeout, Rate: w.Rate, Limit: w.Limit,
	}
}
