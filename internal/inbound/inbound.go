// Package inbound reads the requests that others send to inbound triggers. It is pure: no
// database, no clock, no network.
//
// # Model
//
// Each [hostler.InboundKind] signs in its own way. [Verify] authenticates a request with the
// secret of the trigger, and returns a digest of what the sender signed: two requests with
// the same digest are one. [Read] makes values of it that conditions and look-ups see:
//
//	request   kind, event
//	push      repository, ref, branch, tag, commit, before, user, url, deleted
//	alert     status, name, severity, instance, count, labels, annotations, receiver, url
//	payload   the body as it was sent
//
// # Invariants
//
//   - Nothing of a request is decoded before its signature is verified.
//   - Secrets and signatures are compared in constant time.
//   - The id of a delivery counts only where it is signed (Standard Webhooks). Git hosts do
//     not sign it: whoever captured one of their requests could send it with another id.
package inbound

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"

	"hostler.dev/hostler"
)

// MaxBody is the largest body in bytes.
const MaxBody = 1 << 20

const (
	// tolerance is how far a signed time may be from the clock, as Standard Webhooks advises.
	tolerance     = 5 * time.Minute
	secretBytes   = 32
	standardMark  = "whsec_"
	maxDelivery   = 200
	maxSignatures = 10
)

// Errors of [Verify].
var (
	ErrSignature = errors.New("the signature is missing or wrong")
	ErrTime      = errors.New("the signed time is too far from the clock")
)

// Request is a request from outside.
type Request struct {
	Header func(name string) string
	Body   []byte
	Now    time.Time
}

// Delivery returns the sender's id of a request, which nothing proves but for Standard
// Webhooks.
func (r Request) Delivery(kind hostler.InboundKind) string {
	name := map[hostler.InboundKind]string{
		hostler.InboundGitHub: "X-GitHub-Delivery", hostler.InboundGitea: "X-Gitea-Delivery",
		hostler.InboundGitLab: "X-Gitlab-Event-UUID", hostler.InboundStandard: "Webhook-Id",
	}[kind]
	return line(r.Header(name), maxDelivery)
}

// line is a text that may be stored: printable ASCII, at most n bytes.
func line(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	return s[:min(len(s), n)]
}

// NewSecret returns a random secret for a kind of sender.
func NewSecret(kind hostler.InboundKind) string {
	b := make([]byte, secretBytes)
	_, _ = rand.Read(b) // never fails
	if kind == hostler.InboundStandard {
		return standardMark + base64.StdEncoding.EncodeToString(b)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// NewToken returns a random part for a URL, and the hash by which it is found.
func NewToken() (token, hash string) {
	b := make([]byte, secretBytes)
	_, _ = rand.Read(b) // never fails
	token = base64.RawURLEncoding.EncodeToString(b)
	return token, TokenHash(token)
}

// TokenHash is the hash of the secret part of a URL.
func TokenHash(token string) string {
	sum := sha256.Sum256([]byte("inbound\x00" + token))
	return hex.EncodeToString(sum[:])
}

// Verify authenticates a request by any of the secrets, and returns the digest of what must
// not be repeated.
func Verify(kind hostler.InboundKind, r Request, secrets ...string) (digest string, err error) {
	err = ErrSignature
	for _, s := range secrets {
		if s != "" && verifiers[kind] != nil && verifiers[kind](r, s) {
			err = nil
		}
	}
	if err != nil {
		return "", err
	}
	signed := sha256.New()
	signed.Write([]byte(kind))
	if kind == hostler.InboundStandard {
		if err := checkTime(r); err != nil {
			return "", err
		}
		signed.Write([]byte("\x00id\x00" + r.Header("Webhook-Id")))
	} else {
		signed.Write([]byte("\x00body\x00"))
		signed.Write(r.Body)
	}
	return hex.EncodeToString(signed.Sum(nil)), nil
}

var verifiers = map[hostler.InboundKind]func(r Request, secret string) bool{
	hostler.InboundGitHub: func(r Request, secret string) bool {
		given, ok := strings.CutPrefix(r.Header("X-Hub-Signature-256"), "sha256=")
		return ok && isMAC(given, []byte(secret), r.Body)
	},
	hostler.InboundGitea: func(r Request, secret string) bool {
		return isMAC(r.Header("X-Gitea-Signature"), []byte(secret), r.Body)
	},
	hostler.InboundGitLab: func(r Request, secret string) bool { return same(r.Header("X-Gitlab-Token"), secret) },
	hostler.InboundAlertmanager: func(r Request, secret string) bool {
		given, ok := strings.CutPrefix(r.Header("Authorization"), "Bearer ")
		return ok && same(given, secret)
	},
	hostler.InboundStandard: verifyStandard,
}

// isMAC reports whether a text is the HMAC-SHA-256 of a body in hexadecimal.
func isMAC(given string, key, body []byte) bool {
	got, err := hex.DecodeString(given)
	return err == nil && hmac.Equal(got, mac(key, body))
}

func mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// same compares two texts in a time that depends on neither, nor on their lengths.
func same(given, want string) bool {
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// verifyStandard verifies a signature of Standard Webhooks 1.0: one of several, separated by
// spaces, over the id, the time and the body.
func verifyStandard(r Request, secret string) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, standardMark))
	id := r.Header("Webhook-Id")
	if err != nil || id == "" || strings.ContainsRune(id, '.') {
		return false
	}
	want := mac(key, []byte(id+"."+r.Header("Webhook-Timestamp")+"."), r.Body)
	valid := false
	for _, s := range strings.SplitN(r.Header("Webhook-Signature"), " ", maxSignatures) {
		given, ok := strings.CutPrefix(s, "v1,")
		got, err := base64.StdEncoding.DecodeString(given)
		if ok && err == nil && hmac.Equal(got, want) {
			valid = true
		}
	}
	return valid
}

func checkTime(r Request) error {
	seconds, err := strconv.ParseInt(r.Header("Webhook-Timestamp"), 10, 64)
	if err != nil || r.Now.Sub(time.Unix(seconds, 0)).Abs() > tolerance {
		return ErrTime
	}
	return nil
}
