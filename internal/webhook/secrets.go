package webhook

import (
	"crypto/rand"
	"encoding/base64"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/secret"
)

// Limits of a signing secret. That of Standard Webhooks is whsec_ and base64; a chat
// bot has one of its own form.
const (
	maxSecret       = 512
	signingPrefix   = "whsec_"
	minSigningBytes = 24
	maxSigningBytes = 64
	newSigningBytes = 32
	// maxSigning bounds the secrets that sign at once.
	maxSigning = 3
)

// Spans of a rotation: how long the old secret signs too.
const (
	DefaultOverlap = 24 * time.Hour
	MaxOverlap     = 30 * 24 * time.Hour
)

// Secrets are the parts of a webhook that are stored sealed. The JSON names are part
// of what is stored.
type Secrets struct {
	URL     string            `json:"u"`
	Headers map[string]string `json:"h,omitempty"`
	Token   string            `json:"t,omitempty"`
	Signing []SigningSecret   `json:"s,omitempty"` // newest first
}

// String hides the content.
func (Secrets) String() string { return "(secret)" }

// GoString hides the content from %#v.
func (Secrets) GoString() string { return "(secret)" }

// SigningSecret signs requests until a time; the zero time is for ever.
type SigningSecret struct {
	Secret string    `json:"s"`
	Until  time.Time `json:"u,omitzero"`
}

// String hides the secret.
func (SigningSecret) String() string { return "(secret)" }

// GoString hides the secret from %#v.
func (SigningSecret) GoString() string { return "(secret)" }

// Secrets returns the secret parts of an endpoint.
func (e Endpoint) Secrets() Secrets {
	s := Secrets{URL: e.URL, Headers: e.Headers, Token: e.Token}
	if e.Secret != "" {
		s.Signing = []SigningSecret{{Secret: e.Secret}}
	}
	return s
}

// Endpoint returns the secret parts as an endpoint: the base of a replacement.
func (s Secrets) Endpoint() Endpoint {
	e := Endpoint{URL: s.URL, Headers: s.Headers, Token: s.Token}
	if len(s.Signing) > 0 {
		e.Secret = s.Signing[0].Secret
	}
	return e
}

// Rotate makes a secret the newest one. The others sign until the overlap ends,
// or until their own earlier end.
func (s *Secrets) Rotate(newest string, now time.Time, overlap time.Duration) {
	signing := []SigningSecret{{Secret: newest}}
	for _, old := range s.Signing {
		if end := now.Add(overlap); old.Until.IsZero() || old.Until.After(end) {
			old.Until = end
		}
		if old.Until.After(now) && old.Secret != newest && len(signing) < maxSigning {
			signing = append(signing, old)
		}
	}
	s.Signing = signing
}

// Seal encrypts the secrets of a webhook of a project.
func (s Secrets) Seal(box *secret.Box, project hostler.ProjectID, id hostler.WebhookID) ([]byte, error) {
	return box.SealJSON(secret.WebhookOwner(project, id), s)
}

// Open decrypts the secrets of a webhook of a project.
func Open(box *secret.Box, project hostler.ProjectID, id hostler.WebhookID, sealed []byte) (Secrets, error) {
	var s Secrets
	if err := box.OpenJSON(secret.WebhookOwner(project, id), sealed, &s); err != nil {
		e := hostler.Errorf(hostler.CodeConflict,
			"the secrets of the webhook cannot be opened: the master key is not the one that they were sealed with, "+
				"or the row in the database was altered or moved; delete the webhook and create it again",
			"无法解开该回调的机密内容：主密钥与加密时不同，或数据库中的该行被修改或移动；请删除后重新创建")
		e.Cause = err
		return Secrets{}, e
	}
	return s, nil
}

// NewSecret returns a random signing secret of Standard Webhooks.
func NewSecret() string {
	key := make([]byte, newSigningBytes)
	_, _ = rand.Read(key) // never fails
	return signingPrefix + base64.StdEncoding.EncodeToString(key)
}

// Generate sets a random signing secret and returns it. The caller must not have
// given one, and the format must be signed as Standard Webhooks defines.
func (e *Endpoint) Generate(fields *check.Fields) string {
	fields.Require(e.Secret == "", "generate_secret", "excludes secret: give one of the two",
		"不能与 secret 同时指定")
	fields.Require(!e.Format.IsChatBot(), "generate_secret",
		"is not supported by this format: give the chat bot's own secret",
		"此格式不支持：请提供聊天机器人自己的密钥")
	e.Secret = NewSecret()
	return e.Secret
}

// NextSecret returns the secret that a rotation sets: the given one, or a new one,
// which generated reports.
func NextSecret(fields *check.Fields, f hostler.WebhookFormat, given string) (next string, generated bool) {
	switch {
	case given != "":
		checkSecret(fields, f, given)
		return given, false
	case f == hostler.FormatWeCom:
		fields.AddText("secret", textNoSignature)
		return "", false
	case f.IsChatBot():
		fields.Add("secret", "is required: give the chat bot's own secret",
			"必须提供：请提供聊天机器人自己的密钥")
		return "", false
	default:
		return NewSecret(), true
	}
}

var textNoSignature = hostler.Text{
	EN: "is not supported by this format: chat bots of WeCom accept no signature",
	ZH: "此格式不支持：企业微信机器人不支持签名",
}

// checkSecret checks a signing secret: a chat bot's own, or one of Standard Webhooks.
func checkSecret(fields *check.Fields, f hostler.WebhookFormat, s string) {
	switch {
	case s == "":
	case len(s) > maxSecret || !visible(s):
		fields.Add("secret", "must be at most %d visible ASCII characters",
			"最多 %d 个可见 ASCII 字符", maxSecret)
	case f == hostler.FormatWeCom:
		fields.AddText("secret", textNoSignature)
	case f.IsChatBot():
	default:
		encoded, prefixed := strings.CutPrefix(s, signingPrefix)
		raw, err := base64.StdEncoding.DecodeString(encoded)
		good := prefixed && err == nil && len(raw) >= minSigningBytes && len(raw) <= maxSigningBytes
		fields.Require(good, "secret", "must be %s and the base64 of %d to %d bytes",
			"必须是 %s 加上 %d 到 %d 字节的 base64", signingPrefix, minSigningBytes, maxSigningBytes)
	}
}
