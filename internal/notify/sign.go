package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"hostler.dev/hostler/internal/webhook"

	"hostler.dev/hostler"
)

// signStandard sets the headers of Standard Webhooks: the id of the delivery, the
// time, and the signature when the webhook has a secret.
// See https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
func signStandard(
	req *http.Request, secrets []webhook.SigningSecret, id hostler.DeliveryID, payload string, now time.Time,
) {
	stamp := now.Unix()
	req.Header.Set("Webhook-Id", id.String())
	req.Header.Set("Webhook-Timestamp", strconv.FormatInt(stamp, 10))
	if sig := signature(secrets, id.String(), stamp, payload, now); sig != "" {
		req.Header.Set("Webhook-Signature", sig)
	}
}

// signature returns the header Webhook-Signature: one signature for each secret that
// is valid now, with spaces between them. During a rotation there are two, so that the
// receiver can switch.
//
//	v1,base64(HMAC-SHA256(secret, id "." timestamp "." payload))
//
// The timestamp is signed, so that a receiver can refuse a replay of an old request.
func signature(secrets []webhook.SigningSecret, id string, stamp int64, payload string, now time.Time) string {
	var all []string
	for _, s := range secrets {
		if !s.Until.IsZero() && !s.Until.After(now) {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s.Secret, "whsec_"))
		if err != nil {
			continue // the secret of a chat bot, from before the format was changed
		}
		all = append(all, "v1,"+sign(key, id+"."+strconv.FormatInt(stamp, 10)+"."+payload))
	}
	return strings.Join(all, " ")
}

// sign returns the HMAC-SHA-256 of a text in base64.
func sign(key []byte, text string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// signChatBot returns the URL and the payload of a request with the signature that
// its chat bot expects. Those of other formats, and of chat bots without a secret, are
// returned unchanged; WeCom has no signatures, its URL is the secret.
func signChatBot(
	f hostler.WebhookFormat, s webhook.Secrets, body string, now time.Time,
) (rawURL, payload string, err error) {
	if len(s.Signing) == 0 {
		return s.URL, body, nil
	}
	secret := s.Signing[0].Secret
	switch f {
	case hostler.FormatDingTalk:
		rawURL, err = signDingTalk(s.URL, secret, now)
		return rawURL, body, err
	case hostler.FormatFeishu:
		payload, err = signFeishu(body, secret, now)
		return s.URL, payload, err
	default:
		return s.URL, body, nil
	}
}

// signDingTalk returns the URL with its parameters timestamp, in milliseconds, and sign:
//
//	base64(HMAC-SHA256(key: secret, text: timestamp "\n" secret))
func signDingTalk(rawURL, secret string, now time.Time) (string, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", errors.New("sign for DingTalk: the URL is not valid") // err would contain the URL
	}
	stamp := strconv.FormatInt(now.UnixMilli(), 10)
	q := u.Query()
	q.Set("timestamp", stamp)
	q.Set("sign", sign([]byte(secret), stamp+"\n"+secret))
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// signFeishu returns the payload with its fields timestamp, in seconds, and sign. The key
// has what DingTalk signs, and the text is empty:
//
//	base64(HMAC-SHA256(key: timestamp "\n" secret, text: ""))
func signFeishu(body, secret string, now time.Time) (string, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(body), &fields); err != nil {
		return "", fmt.Errorf("sign for Feishu: %w", err)
	}
	stamp := strconv.FormatInt(now.Unix(), 10)
	fields["timestamp"] = json.RawMessage(strconv.Quote(stamp))
	fields["sign"] = json.RawMessage(strconv.Quote(sign([]byte(stamp+"\n"+secret), "")))
	signed, err := json.Marshal(fields)
	return string(signed), err
}
