package notify

import (
	"net/url"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/secret"
	"hostler.dev/hostler/internal/store"
)

// maxReason bounds the error of a try, which may hold what a receiver said.
const maxReason = 512

// redactorOf removes the secrets of a webhook from what its receiver says, which may
// repeat what it was sent, and in another form.
func redactorOf(s store.WebhookSecrets) *secret.Redactor {
	r := secret.NewRedactor(s.Token, s.URL)
	for _, value := range s.Headers {
		r.Add(value)
		if scheme, rest, ok := strings.Cut(value, " "); ok && scheme != "" {
			r.Add(rest) // Basic, Bearer and the like
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

// urlSecrets are the parts of a URL that MaskURL does not show.
func urlSecrets(u *url.URL) []string {
	var out []string
	if pass, ok := u.User.Password(); ok {
		out = append(out, pass, u.User.Username()+":"+pass)
	} else if u.User != nil {
		out = append(out, u.User.Username())
	}
	if u.RawQuery != "" {
		out = append(out, u.RawQuery)
	}
	for _, values := range u.Query() {
		out = append(out, values...)
	}
	path := (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
	parts := strings.Split(path, "/")
	for i, shown := range strings.Split(hostler.MaskURL(path), "/") {
		if shown != hostler.Masked {
			continue
		}
		out = append(out, parts[i])
		if plain, err := url.PathUnescape(parts[i]); err == nil {
			out = append(out, plain)
		}
	}
	return out
}

// redactText takes secrets out of a reason and bounds it.
func redactText(t *hostler.Text, r *secret.Redactor) *hostler.Text {
	if t == nil {
		return nil
	}
	return &hostler.Text{EN: clip(r.String(t.EN), maxReason), ZH: clip(r.String(t.ZH), maxReason)}
}

// keptResponse is the beginning of an answer as text, without the secrets.
func keptResponse(b []byte, r *secret.Redactor) string {
	text := r.String(strings.ToValidUTF8(strings.ReplaceAll(string(b), "\x00", ""), "\uFFFD"))
	if len(text) > responseKept {
		text = strings.ToValidUTF8(text[:responseKept], "")
	}
	return text
}
