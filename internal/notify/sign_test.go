package notify

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"hostler.dev/hostler/internal/webhook"
)

// TestSignature compares with the example of the Standard Webhooks specification,
// and rotates the secret.
func TestSignature(t *testing.T) {
	now := time.Unix(1614265330, 0)
	secret := webhook.SigningSecret{Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
	id := "msg_p5jXN8AQM9LWM0D4loKWxJek"
	got := signature([]webhook.SigningSecret{secret}, id, now.Unix(), `{"test": 2432232314}`, now)
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("the signature is %s, want %s", got, want)
	}
	old := webhook.SigningSecret{
		Secret: "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 32)), Until: now.Add(time.Second),
	}
	both := signature([]webhook.SigningSecret{secret, old}, "x", now.Unix(), "{}", now)
	later := signature([]webhook.SigningSecret{secret, old}, "x", now.Unix(), "{}", now.Add(time.Second))
	if len(strings.Fields(both)) != 2 || len(strings.Fields(later)) != 1 || !strings.HasPrefix(both, later) {
		t.Errorf("during the rotation %q, after it %q", both, later)
	}
	if s := signature(nil, "x", 1, "{}", now); s != "" {
		t.Errorf("without a secret the signature is %q", s)
	}
}
