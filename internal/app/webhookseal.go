package app

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// secrets are what is sealed of an endpoint.
func (e endpoint) secrets() store.WebhookSecrets {
	s := store.WebhookSecrets{URL: e.url, Headers: e.headers, Token: e.token}
	if e.secret != "" {
		s.Signing = []store.SigningSecret{{Secret: e.secret}}
	}
	return s
}

// sealedEndpoint is the secret part of one, to compare with and to take over.
func sealedEndpoint(w store.WebhookSecrets) endpoint {
	e := endpoint{url: w.URL, headers: w.Headers, token: w.Token}
	if len(w.Signing) > 0 {
		e.secret = w.Signing[0].Secret
	}
	return e
}

// rotate puts a new secret before those that still sign, which end with the
// overlap.
func rotate(w *store.WebhookSecrets, secret string, now time.Time, overlap time.Duration) {
	signing := []store.SigningSecret{{Secret: secret}}
	for _, old := range w.Signing {
		if end := now.Add(overlap); old.Until.IsZero() || old.Until.After(end) {
			old.Until = end
		}
		if old.Until.After(now) && old.Secret != secret && len(signing) < maxSigning {
			signing = append(signing, old)
		}
	}
	w.Signing = signing
}

// maxSigning bounds the secrets that sign at once.
const maxSigning = 3

func newSigningSecret() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return signingPrefix + base64.StdEncoding.EncodeToString(key)
}

func (a *App) sealWebhook(id hostler.WebhookID, w store.WebhookSecrets) ([]byte, error) {
	plain, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("encode the secrets of webhook %v", id)
	}
	sealed, err := a.cfg.Box.Seal(plain, associatedWebhook(id))
	if err != nil {
		return nil, fmt.Errorf("seal webhook %v: %w", id, err)
	}
	return sealed, nil
}

// OpenWebhook opens what is sealed of a webhook, for whoever sends its requests.
func (a *App) OpenWebhook(id hostler.WebhookID, sealed []byte) (store.WebhookSecrets, error) {
	var w store.WebhookSecrets
	plain, err := a.cfg.Box.Open(sealed, associatedWebhook(id))
	if err != nil {
		return w, fmt.Errorf("open webhook %v: %w", id, err)
	}
	if json.Unmarshal(plain, &w) != nil {
		// The decoder's error could repeat a part of the secret.
		return w, fmt.Errorf("decode the secrets of webhook %v", id)
	}
	return w, nil
}

func associatedWebhook(id hostler.WebhookID) []byte { return []byte("webhook " + id.String()) }
