package app

import (
	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// WebhookInput is a webhook as a caller writes it. The secret parts go in and
// never come out. In a replacement, a secret part that is left out stays as it is,
// as long as the requests go to the same scheme, host and port; an empty one is
// taken away.
type WebhookInput struct {
	Name    string                 `json:"name" minLength:"1" maxLength:"128"`
	URL     string                 `json:"url,omitempty" maxLength:"2048" writeOnly:"true" doc:"http or https; in a replacement, left out or as shown, it stays as it is"`
	Format  hostler.WebhookFormat  `json:"format,omitempty" enum:"standard,task,netpulse,dingtalk,wecom,feishu" doc:"default: the robot that the URL belongs to, else standard"`
	Events  []string               `json:"events,omitempty" maxItems:"100" doc:"types of event, or patterns such as job.*; default: the ends of jobs"`
	Filter  *hostler.WebhookFilter `json:"filter,omitempty"`
	Method  string                 `json:"method,omitempty" enum:"POST,PUT,PATCH,GET" doc:"default: POST"`
	Headers map[string]string      `json:"headers,omitempty" writeOnly:"true" doc:"additional headers; their values are never shown again"`
	Token   *string                `json:"token,omitempty" maxLength:"4096" writeOnly:"true" doc:"sent as Authorization: Bearer"`
	Secret  *string                `json:"secret,omitempty" maxLength:"512" writeOnly:"true" doc:"signs the requests: whsec_ and base64, or the robot's own secret"`
	// GenerateSecret is for new webhooks; a replacement keeps, sets or removes one.
	GenerateSecret bool             `json:"generate_secret,omitempty" doc:"of a new webhook: make a signing secret and show it once"`
	Lang           hostler.Lang     `json:"lang,omitempty" enum:"en,zh" doc:"of texts for people; default: the caller's"`
	Timeout        hostler.Duration `json:"timeout,omitempty" doc:"of one request; default and most 10s"`
	Rate           int              `json:"rate,omitempty" minimum:"0" maximum:"6000" doc:"requests per minute at most; 0 means no limit, but for robots 20"`
	Limit          int              `json:"limit,omitempty" minimum:"0" maximum:"100" doc:"requests at once at most; default 4"`
	Enabled        *bool            `json:"enabled,omitempty" doc:"default: true, or as it is"`
}

// String hides the secret parts.
func (in WebhookInput) String() string { return in.Name + " (secret)" }

// GoString hides the secret parts from %#v.
func (in WebhookInput) GoString() string { return in.String() }

// WebhookCreated is a webhook with the signing secret that Hostler made for it,
// which is shown this once.
type WebhookCreated struct {
	Webhook hostler.Webhook `json:"webhook"`
	Secret  string          `json:"secret,omitempty" doc:"when Hostler made it; shown only now"`
}

// WebhookRotation asks for a new signing secret.
type WebhookRotation struct {
	Secret  string            `json:"secret,omitempty" maxLength:"512" writeOnly:"true" doc:"default: Hostler makes one"`
	Overlap *hostler.Duration `json:"overlap,omitempty" doc:"how long the old secret signs too; default 24h"`
}

// String hides the secret.
func (in WebhookRotation) String() string { return "rotation (secret)" }

// GoString hides the secret from %#v.
func (in WebhookRotation) GoString() string { return in.String() }

// DeliverySelection selects the deliveries of a bulk change: by filter or by ids,
// never neither.
type DeliverySelection struct {
	Filter *hostler.DeliveryFilter `json:"filter,omitempty" doc:"default state: failed"`
	IDs    []hostler.DeliveryID    `json:"ids,omitempty" maxItems:"1000"`
}

// endpoint takes the parts of the input that a new webhook has.
func (in WebhookInput) endpoint() endpoint {
	e := endpoint{url: in.URL, format: in.Format, method: in.Method, headers: in.Headers, timeout: in.Timeout.D()}
	if in.Token != nil {
		e.token = *in.Token
	}
	if in.Secret != nil {
		e.secret = *in.Secret
	}
	return e
}

// over is the endpoint of a replacement: what the input leaves out comes from the
// old one. Secret parts that go to another place must be given again.
func (in WebhookInput) over(fields *check.Fields, old endpoint) endpoint {
	e := in.endpoint()
	if e.url == "" || e.url == hostler.MaskURL(old.url) {
		e.url = old.url
	}
	if in.Token == nil {
		e.token = old.token
	}
	if in.Secret == nil {
		e.secret = old.secret
	}
	if in.Headers == nil {
		e.headers = old.headers
	}
	if origin(e.url) == origin(old.url) {
		return e
	}
	for _, part := range []struct {
		path string
		kept bool
	}{
		{"token", in.Token == nil && old.token != ""},
		{"secret", in.Secret == nil && old.secret != ""},
		{"headers", in.Headers == nil && len(old.headers) > 0},
	} {
		fields.Require(!part.kept, part.path,
			"must be given again, or as empty, because the URL leads to another scheme, host or port",
			"URL 的协议、主机或端口已更改，必须重新提供，或明确置空")
	}
	return e
}

// endpointOf is the endpoint of a job's own webhook.
func endpointOf(w hostler.JobWebhook) endpoint {
	return endpoint{
		url: w.URL, format: w.Format, method: w.Method, headers: w.Headers,
		token: w.Token, secret: w.Secret, timeout: w.Timeout.D(),
	}
}

// checkJobWebhook checks the webhook that a request brings along.
func checkJobWebhook(fields *check.Fields, w hostler.JobWebhook) *endpoint {
	var own check.Fields
	e := endpointOf(w)
	e.check(&own)
	fields.Nest("webhook.", own.Faults()...)
	return &e
}
