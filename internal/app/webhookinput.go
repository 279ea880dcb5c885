package app

import (
	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// endpoint takes the parts of the input that a new webhook has.
func endpointFrom(in hostler.WebhookInput) endpoint {
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
func replaced(fields *check.Fields, in hostler.WebhookInput, old endpoint) endpoint {
	e := endpointFrom(in)
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
