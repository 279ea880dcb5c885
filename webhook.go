package hostler

import "time"

// WebhookFormat is the form of the requests that a webhook gets.
type WebhookFormat string

// The formats.
const (
	// FormatStandard is an Event with its job, signed as Standard Webhooks asks
	// (https://www.standardwebhooks.com).
	FormatStandard WebhookFormat = "standard"
	// FormatTask is the message of the simple task API: task_completed.
	FormatTask WebhookFormat = "task"
	// FormatNetPulse is what NetPulse sends when a job ends: id, status and result.
	FormatNetPulse WebhookFormat = "netpulse"
	// The robots of chat services have messages, signatures and ways to say no of
	// their own.
	FormatDingTalk WebhookFormat = "dingtalk"
	FormatWeCom    WebhookFormat = "wecom"
	FormatFeishu   WebhookFormat = "feishu"
)

// WebhookFormats lists the formats.
func WebhookFormats() []WebhookFormat {
	return []WebhookFormat{FormatStandard, FormatTask, FormatNetPulse, FormatDingTalk, FormatWeCom, FormatFeishu}
}

// OnlyEnds reports whether the format has a message for the ends of jobs only.
func (f WebhookFormat) OnlyEnds() bool { return f == FormatTask || f == FormatNetPulse }

// Webhook is a subscription of a URL to events. Its secrets (the URL's query and
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

// WebhookFilter narrows the events of jobs; empty fields match all.
type WebhookFilter struct {
	Actions []string `json:"actions,omitempty" maxItems:"100"`
	Queues  []string `json:"queues,omitempty" maxItems:"100"`
	Assets  []string `json:"assets,omitempty" maxItems:"1000" doc:"names"`
}

// WebhookCounts counts the deliveries of a webhook that are kept.
type WebhookCounts struct {
	Pending   int `json:"pending"`
	Delivered int `json:"delivered"`
	Failed    int `json:"failed"`
}

// DeliveryState is where a delivery is.
type DeliveryState string

// The states of a delivery.
const (
	DeliveryPending   DeliveryState = "pending"   // to be sent, or to be tried again
	DeliveryDelivered DeliveryState = "delivered" // the receiver took it
	DeliveryFailed    DeliveryState = "failed"    // given up; it can be sent again
)

// Delivery is one event on its way to one webhook. Its id is the webhook-id that
// the receiver sees, the same at every try.
type Delivery struct {
	ID       DeliveryID        `json:"id"`
	Webhook  WebhookID         `json:"webhook"`
	Name     string            `json:"webhook_name"`
	Pos      int64             `json:"pos" doc:"of the event"`
	Type     EventType         `json:"type"`
	Job      JobID             `json:"job,omitzero"`
	State    DeliveryState     `json:"state"`
	Tries    int               `json:"tries"`
	NextAt   *time.Time        `json:"next_at,omitempty" doc:"of the next try"`
	Created  time.Time         `json:"created_at"`
	Ended    *time.Time        `json:"ended_at,omitempty"`
	Body     string            `json:"body,omitempty" doc:"what is sent; left out of listings"`
	Attempts []DeliveryAttempt `json:"attempts,omitempty" doc:"newest last; left out of listings, which have the last one"`
	Last     *DeliveryAttempt  `json:"last,omitempty"`
}

// DeliveryAttempt is one request and what came back.
type DeliveryAttempt struct {
	N        int               `json:"n"`
	At       time.Time         `json:"at"`
	Millis   float64           `json:"ms"`
	Request  map[string]string `json:"request,omitempty" doc:"headers that were sent, without secrets"`
	Status   int               `json:"status,omitempty" doc:"HTTP status; 0 when no answer came"`
	Response string            `json:"response,omitempty" doc:"the first 4 KiB of the answer"`
	Error    *Text             `json:"error,omitempty"`
}

// DeliveryFilter selects deliveries; empty fields select all.
type DeliveryFilter struct {
	Webhook string        `json:"webhook,omitempty" doc:"name or id"`
	State   DeliveryState `json:"state,omitempty" enum:"pending,delivered,failed"`
	Type    EventType     `json:"type,omitempty"`
	Job     JobID         `json:"job,omitzero"`
	Since   *time.Time    `json:"since,omitempty"`
	Until   *time.Time    `json:"until,omitempty"`
}

// JobWebhook asks for a request at the end of each job of one call.
type JobWebhook struct {
	URL     string            `json:"url" minLength:"1" maxLength:"2048" writeOnly:"true"`
	Method  string            `json:"method,omitempty" enum:"POST,PUT,PATCH,GET" doc:"default POST"`
	Headers map[string]string `json:"headers,omitempty" writeOnly:"true" doc:"sealed; never shown again"`
	Token   string            `json:"token,omitempty" maxLength:"4096" writeOnly:"true" doc:"sent as Authorization: Bearer; sealed"`
	Secret  string            `json:"secret,omitempty" maxLength:"512" writeOnly:"true" doc:"signs the requests; sealed"`
	Format  WebhookFormat     `json:"format,omitempty" enum:"standard,task,netpulse,dingtalk,wecom,feishu" doc:"default: by the URL"`
	Timeout Duration          `json:"timeout,omitempty" doc:"of one request; default and most 10s"`
}

// String hides the secret parts.
func (w JobWebhook) String() string { return MaskURL(w.URL) + " (secret)" }

// GoString hides the secret parts from %#v.
func (w JobWebhook) GoString() string { return w.String() }
