package notify_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"hostler.dev/hostler/internal/notify"
	"hostler.dev/hostler/internal/store"
)

// TestSignature holds the signature to the example of the Standard Webhooks
// specification.
func TestSignature(t *testing.T) {
	now := time.Unix(1614265330, 0)
	secret := store.SigningSecret{Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
	got := notify.Signature([]store.SigningSecret{secret}, "msg_p5jXN8AQM9LWM0D4loKWxJek", now.Unix(), `{"test": 2432232314}`, now)
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("the signature is %s, want %s", got, want)
	}
	old := store.SigningSecret{Secret: "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 32)), Until: now.Add(time.Second)}
	both := notify.Signature([]store.SigningSecret{secret, old}, "x", now.Unix(), "{}", now)
	later := notify.Signature([]store.SigningSecret{secret, old}, "x", now.Unix(), "{}", now.Add(time.Second))
	if len(strings.Fields(both)) != 2 || len(strings.Fields(later)) != 1 || !strings.HasPrefix(both, later) {
		t.Errorf("in the overlap %q, after it %q", both, later)
	}
	if s := notify.Signature(nil, "x", 1, "{}", now); s != "" {
		t.Errorf("without a secret the signature is %q", s)
	}
}

// valid checks a signature as a receiver does.
func valid(secret, id, stamp, body, header string) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + stamp + "." + body))
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for have := range strings.FieldsSeq(header) {
		if hmac.Equal([]byte(have), []byte(want)) {
			return true
		}
	}
	return false
}
