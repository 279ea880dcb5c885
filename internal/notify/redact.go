package notify

import (
	"net/http"
	"net/url"
	"strings"

	"hostler.dev/hostler/internal/webhook"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/secret"
)

// maxError bounds the error of a try, which may quote the receiver.
const maxError = 512

// redactorOf returns a redactor of the secrets of a webhook. It is applied to what
// the receiver returned, which may repeat the request, whole or in parts.
func redactorOf(s webhook.Secrets) *secret.Redactor {
	r := secret.NewRedactor(s.Token, s.URL)
	for _, value := range s.Headers {
		r.Add(value)
		if scheme, rest, ok := strings.Cut(value, " "); ok && scheme != "" {
			r.Add(rest) // behind Basic, Bearer and the like
		}
	}
	for _, key := range s.Signing {
		r.Add(key.Secret, strings.TrimPrefix(key.Secret, "whsec_"))
	}
	if u, err := url.Parse(s.URL); err == nil {
		r.Add(urlSecrets(u)...)
	}
	return r
}

// urlSecrets returns the parts of a URL that [hostler.MaskURL] masks.
func urlSecrets(u *url.URL) []string {
	var secrets []string
	if pass, ok := u.User.Password(); ok {
		secrets = append(secrets, pass, u.User.Username()+":"+pass)
	} else if u.User != nil {
		secrets = append(secrets, u.User.Username())
	}
	if u.RawQuery != "" {
		secrets = append(secrets, u.RawQuery)
	}
	for _, values := range u.Query() {
		secrets = append(secrets, values...)
	}
	path := (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
	parts := strings.Split(path, "/")
	for i, shown := range strings.Split(hostler.MaskURL(path), "/") {
		if shown != hostler.Masked {
			continue
		}
		secrets = append(secrets, parts[i])
		if plain, err := url.PathUnescape(parts[i]); err == nil {
			secrets = append(secrets, plain)
		}
	}
	return secrets
}

// redactText removes secrets from the error of a try, and bounds it.
func redactText(t *hostler.Text, r *secret.Redactor) *hostler.Text {
	if t == nil {
		return nil
	}
	return &hostler.Text{EN: truncate(r.String(t.EN), maxError), ZH: truncate(r.String(t.ZH), maxError)}
}

// excerpt returns the beginning of a response as text without secrets. It redacts
// before it cuts: half a secret would not be found.
func excerpt(b []byte, r *secret.Redactor) string {
	text := r.String(strings.ToValidUTF8(strings.ReplaceAll(string(b), "\x00", ""), "\uFFFD"))
	if len(text) > maxResponse {
		text = strings.ToValidUTF8(text[:maxResponse], "")
	}
	return text
}

// maskHeaders returns the headers of a request, with the values masked that the
// owner of the webhook set or that authorize.
func maskHeaders(req *http.Request, s webhook.Secrets) map[string]string {
	shown := make(map[string]string, len(req.Header))
	for name := range req.Header {
		if _, custom := s.Headers[name]; custom || name == "Authorization" {
			shown[name] = hostler.Masked
		} else {
			shown[name] = req.Header.Get(name)
		}
	}
	return shown
}
